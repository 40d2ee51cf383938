#Requires -Version 5.1
# Script: Get-LabCrashControl
#
# How a crash dump would be written, and whether it can be.
param()
$ErrorActionPreference = 'Stop'

$control = Get-Item -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\CrashControl'

# volmgr writes event 46 early in a start in which no crash dump can be written. The creation time of the
# first smss.exe stays what it was when the clock is set later, as the time of that event does.
$manager = Get-CimInstance -ClassName Win32_Process -Filter "Name = 'smss.exe'" |
    Where-Object { $null -ne $_.CreationDate } | Sort-Object -Property CreationDate | Select-Object -First 1
$boot = if ($null -ne $manager) {
    $manager.CreationDate
} else {
    (Get-CimInstance -ClassName Win32_OperatingSystem).LastBootUpTime
}
$early = $boot.ToUniversalTime().AddSeconds(-30)
$since = $early.ToString('yyyy-MM-ddTHH:mm:ss.fffZ', [cultureinfo]::InvariantCulture)
$query = "*[System[Provider[@Name='volmgr'] and EventID=46 and TimeCreated[@SystemTime>='$since']]]"
$failed = $true
try {
    $null = Get-WinEvent -LogName System -FilterXPath $query -MaxEvents 1
} catch {
    if ($_.FullyQualifiedErrorId -notlike 'NoMatchingEventsFound*') { throw }
    $failed = $false
}

$row = [pscustomobject] @{
    crashDumpEnabled         = [int] $control.GetValue('CrashDumpEnabled', 0)
    autoReboot               = [int] $control.GetValue('AutoReboot', 0)
    overwrite                = [int] $control.GetValue('Overwrite', 0)
    alwaysKeepMemoryDump     = [int] $control.GetValue('AlwaysKeepMemoryDump', 0)
    dumpFile                 = [string] $control.GetValue('DumpFile', "$env:SystemRoot\Memory.dmp")
    systemDriveFreeBytes     = [long] (New-Object System.IO.DriveInfo $env:SystemDrive).AvailableFreeSpace
    dumpInitializationFailed = $failed
}
ConvertTo-Json -InputObject @($row) -Compress -Depth 6
