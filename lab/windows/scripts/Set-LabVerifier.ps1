#Requires -Version 5.1
# Script: Set-LabVerifier
#
# Driver Verifier's settings from the next start. No flags and no drivers: verifier /reset. The driver '*'
# alone: every driver (/all). Flags without drivers: settings that verify nothing, as some systems are found.
# verifier.exe ends with 0 for success, 1 for an error, and 2 for success that needs a restart.
param(
    [int] $Flags = 0,
    [string[]] $Driver = @(),
    [string] $BootMode = 'persistent'
)
$ErrorActionPreference = 'Stop'
# Without this, Windows PowerShell may write an array inside an object as {"value":[...],"Count":n}.
Remove-TypeData -TypeName System.Array -ErrorAction SilentlyContinue

if ($Flags -lt 0) { throw "$Flags are not verifier flags" }
if ($BootMode -notin 'persistent', 'resetonbootfail', 'oneboot', 'resetonunusualshutdown') {
    throw "'$BootMode' is not a boot mode"
}
$all = $Driver.Count -eq 1 -and $Driver[0] -eq '*'
if (-not $all) {
    foreach ($name in $Driver) {
        if ($name -notmatch '^[^\s\\/:*?"<>|]+\.(sys|exe|dll)$') { throw "'$name' is no file name of a driver" }
    }
}

$arguments = @('/flags', ('0x{0:X}' -f $Flags))
if ($Driver.Count -gt 0) {
    # Persistent is the default everywhere; releases before Windows 8 may not know the option.
    if ($BootMode -ne 'persistent' -or [Environment]::OSVersion.Version -ge [version] '6.2') {
        $arguments += '/bootmode', $BootMode
    }
    if ($all) {
        $arguments += '/all'
    } else {
        $arguments += '/driver'
        $arguments += $Driver
    }
}

function Invoke-Verifier([string[]] $arguments) {
    $ErrorActionPreference = 'Continue' # what a program writes to standard error is no failure of ours
    & "$env:SystemRoot\System32\verifier.exe" $arguments 2>&1 | ForEach-Object { "$_" }
}
$exitCode = 0
if ($Driver.Count -eq 0) { # /flags alone would leave the drivers of the settings before in place
    $message = (@(Invoke-Verifier '/reset') -join ' ').Trim()
    $exitCode = $LASTEXITCODE
}
if ($exitCode -in 0, 2 -and ($Flags -ne 0 -or $Driver.Count -gt 0)) {
    $message = (@(Invoke-Verifier $arguments) -join ' ').Trim()
    $exitCode = $LASTEXITCODE
}

$memory = Get-Item -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management'
$pendingDrivers = @(([string] $memory.GetValue('VerifyDrivers', '')).Split(' ') | Where-Object { $_ })
$row = [pscustomobject] @{
    exitCode       = [int] $exitCode
    message        = $message
    pendingFlags   = [long] $memory.GetValue('VerifyDriverLevel', 0) -band [long] 4294967295
    pendingDrivers = [string[]] $pendingDrivers
}
ConvertTo-Json -InputObject @($row) -Compress -Depth 6
