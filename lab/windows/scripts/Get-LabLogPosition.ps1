#Requires -Version 5.1
# Script: Get-LabLogPosition
#
# The newest record of the System log; 0 when the log is empty.
param()
$ErrorActionPreference = 'Stop'

$record = 0
try {
    $record = (Get-WinEvent -LogName System -MaxEvents 1).RecordId
} catch {
    if ($_.FullyQualifiedErrorId -notlike 'NoMatchingEventsFound*') { throw }
}
ConvertTo-Json -InputObject @([pscustomobject] @{ record = [long] $record }) -Compress -Depth 6
