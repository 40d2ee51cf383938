#Requires -Version 5.1
# Script: Get-LabBugcheck
#
# Events that tell of a stop: 1001 (the bugcheck, written after the restart), 41 (the system came up without
# having gone down), 46 (no dump can be written). The text of an event is localised, so its data is read.
param(
    [long] $AfterRecord = 0
)
$ErrorActionPreference = 'Stop'
# Without this, Windows PowerShell may write an array inside an object as {"value":[...],"Count":n}.
Remove-TypeData -TypeName System.Array -ErrorAction SilentlyContinue

function Format-Hex([string] $number) {
    '0x{0:x16}' -f [Convert]::ToUInt64(($number.Trim() -replace '^0x', ''), 16)
}

$query = "*[System[EventRecordID > $AfterRecord and (" +
    "(Provider[@Name='Microsoft-Windows-WER-SystemErrorReporting'] and EventID=1001) or " +
    "(Provider[@Name='Microsoft-Windows-Kernel-Power'] and EventID=41) or " +
    "(Provider[@Name='volmgr'] and EventID=46))]]"
try {
    $events = @(Get-WinEvent -LogName System -FilterXPath $query -Oldest)
} catch {
    if ($_.FullyQualifiedErrorId -notlike 'NoMatchingEventsFound*') { throw }
    $events = @()
}

$rows = @(foreach ($entry in $events) {
    $code = $null
    $parameters = $null
    $dumpPath = ''
    if ($entry.Id -eq 1001) {
        # param1 '0x00000020 (0x0, 0xffff, 0x0, 0x1)', param2 the dump's path, param3 the report's id
        $numbers = [regex]::Matches([string] $entry.Properties[0].Value, '0x[0-9A-Fa-f]+')
        if ($numbers.Count -ge 5) {
            $code = [Convert]::ToUInt32($numbers[0].Value.Substring(2), 16)
            $parameters = [string[]] @(1..4 | ForEach-Object { Format-Hex $numbers[$_].Value })
        }
        if ($entry.Properties.Count -gt 1) { $dumpPath = [string] $entry.Properties[1].Value }
    } elseif ($entry.Id -eq 41) {
        # BugcheckCode is decimal, and 0 when the system did not stop by a bugcheck
        $data = @{}
        foreach ($item in ([xml] $entry.ToXml()).Event.EventData.Data) { $data[$item.Name] = $item.'#text' }
        if ($data['BugcheckCode'] -and [uint32] $data['BugcheckCode'] -ne 0) {
            $code = [uint32] $data['BugcheckCode']
            $parameters = [string[]] @(1..4 | ForEach-Object { Format-Hex $data["BugcheckParameter$_"] })
        }
    }
    $time = $entry.TimeCreated.ToUniversalTime()
    [pscustomobject] @{
        record     = [long] $entry.RecordId
        eventId    = [int] $entry.Id
        time       = $time.ToString('yyyy-MM-ddTHH:mm:ss.fffZ', [cultureinfo]::InvariantCulture)
        code       = $code
        parameters = $parameters
        dumpPath   = $dumpPath
    }
})
ConvertTo-Json -InputObject $rows -Compress -Depth 6
