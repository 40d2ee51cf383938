#Requires -Version 5.1
# Script: Restart-LabGuest
#
# A planned restart (reason 4:1, application: maintenance) whose comment, kept in event 1074, says it is ours.
# The delay lets the answer leave first.
param(
    [string] $Token = ''
)
$ErrorActionPreference = 'Stop'

if ($Token -notmatch '^[A-Za-z0-9 ._:/#-]{1,200}$') { throw "'$Token' is not a token" }

function Invoke-Shutdown([string[]] $arguments) {
    $ErrorActionPreference = 'Continue' # what a program writes to standard error is no failure of ours
    & "$env:SystemRoot\System32\shutdown.exe" $arguments 2>&1 | ForEach-Object { "$_" }
}
$message = @(Invoke-Shutdown @('/r', '/f', '/t', '2', '/d', 'p:4:1', '/c', $Token)) -join ' '
$inProgress = 1115, 1190 # ERROR_SHUTDOWN_IN_PROGRESS, ERROR_SHUTDOWN_IS_SCHEDULED: it is going down already
if ($LASTEXITCODE -ne 0 -and $LASTEXITCODE -notin $inProgress) {
    throw "shutdown.exe ended with exit code ${LASTEXITCODE}: $message"
}
ConvertTo-Json -InputObject @([pscustomobject] @{ accepted = $true }) -Compress -Depth 6
