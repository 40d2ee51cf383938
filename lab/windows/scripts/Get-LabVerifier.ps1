#Requires -Version 5.1
# Script: Get-LabVerifier
#
# Driver Verifier: what holds from the next start (registry) and what the running kernel does (/query).
# The output of verifier.exe is localised and differs between releases, so only file names and numbers are
# read from it. The boot mode is kept nowhere that is documented: it is recognised in the output of
# /querysettings, and taken for persistent, the default, when it is not (as on a system not in English).
param()
$ErrorActionPreference = 'Stop'
# Without this, Windows PowerShell may write an array inside an object as {"value":[...],"Count":n}.
Remove-TypeData -TypeName System.Array -ErrorAction SilentlyContinue

function Invoke-Verifier([string[]] $arguments) {
    $ErrorActionPreference = 'Continue' # what a program writes to standard error is no failure of ours
    & "$env:SystemRoot\System32\verifier.exe" $arguments 2>&1 | ForEach-Object { "$_" }
}

$memory = Get-Item -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management'
$pendingDrivers = @(([string] $memory.GetValue('VerifyDrivers', '')).Split(' ') | Where-Object { $_ })

$bootMode = 'persistent'
foreach ($line in Invoke-Verifier '/querysettings') {
    $word = ($line -replace '[^A-Za-z]', '').ToLowerInvariant()
    if ($word -in 'oneboot', 'resetonbootfail', 'resetonunusualshutdown') { $bootMode = $word }
}

# New: 'Verifier Flags: 0x000209bb' and 'Module: x.sys (load: 1 / unload: 0)'. Old: 'Level: 000209BB' and
# 'Name: x.sys, loads: 1, unloads: 0'. Nothing verified: no file name at all.
$activeFlags = $null
$activeDrivers = New-Object System.Collections.ArrayList
foreach ($line in Invoke-Verifier '/query') {
    if ($null -eq $activeFlags -and $line -match ':\s*(?:0x)?([0-9A-Fa-f]{8})\s*$') {
        $activeFlags = [Convert]::ToInt64($Matches[1], 16)
    } elseif ($line -match '([^\s\\/:,()"]+\.(?:sys|exe|dll))\b' -and $Matches[1] -ne 'verifier.exe') {
        if ($activeDrivers -notcontains $Matches[1]) { $null = $activeDrivers.Add($Matches[1]) }
    }
}
if ($null -eq $activeFlags) { $activeFlags = 0 }

$row = [pscustomobject] @{
    pendingFlags   = [long] $memory.GetValue('VerifyDriverLevel', 0) -band [long] 4294967295
    pendingDrivers = [string[]] $pendingDrivers
    bootMode       = $bootMode
    activeFlags    = [long] $activeFlags
    activeDrivers  = [string[]] $activeDrivers.ToArray()
}
ConvertTo-Json -InputObject @($row) -Compress -Depth 6
