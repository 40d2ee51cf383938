#Requires -Version 5.1
# Script: Set-LabVerifier
#
# Driver Verifier's settings from the next start. No flags and no drivers: verifier /reset.
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
foreach ($name in $Driver) {
    if ($name -notmatch '^[^\s\\/:*?"<>|]+\.(sys|exe|dll)$') { throw "'$name' is no file name of a driver" }
}

if ($Flags -eq 0 -and $Driver.Count -eq 0) {
    $arguments = @('/reset')
} else {
    if ($Driver.Count -eq 0) { throw 'flags without drivers would verify nothing' }
    $arguments = @('/flags', ('0x{0:X}' -f $Flags))
    # Persistent is the default everywhere; releases before Windows 8 may not know the option.
    if ($BootMode -ne 'persistent' -or [Environment]::OSVersion.Version -ge [version] '6.2') {
        $arguments += '/bootmode', $BootMode
    }
    $arguments += '/driver'
    $arguments += $Driver
}

function Invoke-Verifier([string[]] $arguments) {
    $ErrorActionPreference = 'Continue' # what a program writes to standard error is no failure of ours
    & "$env:SystemRoot\System32\verifier.exe" $arguments 2>&1 | ForEach-Object { "$_" }
}
$message = (@(Invoke-Verifier $arguments) -join ' ').Trim()
$exitCode = $LASTEXITCODE

$memory = Get-Item -LiteralPath 'HKLM:\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management'
$pendingDrivers = @(([string] $memory.GetValue('VerifyDrivers', '')).Split(' ') | Where-Object { $_ })
$row = [pscustomobject] @{
    exitCode       = [int] $exitCode
    message        = $message
    pendingFlags   = [long] $memory.GetValue('VerifyDriverLevel', 0) -band [long] 4294967295
    pendingDrivers = [string[]] $pendingDrivers
}
ConvertTo-Json -InputObject @($row) -Compress -Depth 6
