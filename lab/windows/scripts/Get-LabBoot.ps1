#Requires -Version 5.1
# Script: Get-LabBoot
#
# Which boot is running. bootTime is the creation time of the first smss.exe: unlike LastBootUpTime, which is
# worked out again from the clock, it does not move when the clock is set after the start.
param()
$ErrorActionPreference = 'Stop'

function Format-Utc([datetime] $time) {
    $time.ToUniversalTime().ToString('yyyy-MM-ddTHH:mm:ss.fffZ', [cultureinfo]::InvariantCulture)
}

$system = Get-CimInstance -ClassName Win32_OperatingSystem
$computer = Get-CimInstance -ClassName Win32_ComputerSystem
$product = Get-CimInstance -ClassName Win32_ComputerSystemProduct
$manager = Get-CimInstance -ClassName Win32_Process -Filter "Name = 'smss.exe'" |
    Where-Object { $null -ne $_.CreationDate } | Sort-Object -Property CreationDate | Select-Object -First 1
$started = if ($null -ne $manager) { $manager.CreationDate } else { $system.LastBootUpTime }

$prefetch = 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters'
$bootId = 0
if (Test-Path -LiteralPath $prefetch) {
    $bootId = [int] (Get-Item -LiteralPath $prefetch).GetValue('BootId', 0)
}

$row = [pscustomobject] @{
    bootId      = $bootId
    bootTime    = Format-Utc $started
    now         = Format-Utc ([datetime]::UtcNow)
    computer    = [string] $env:COMPUTERNAME
    build       = [int] $system.BuildNumber
    osName      = [string] $system.Caption
    uuid        = [string] $product.UUID
    processors  = [int] $computer.NumberOfLogicalProcessors
    memoryBytes = [long] $computer.TotalPhysicalMemory
}
ConvertTo-Json -InputObject @($row) -Compress -Depth 6
