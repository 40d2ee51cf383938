#Requires -Version 5.1
# Script: Set-LabDriver
#
# Which drivers load at the next start. ClassFilter: 'service|{class guid}|upper or lower|index'.
# Every name is checked, and every key opened for writing, before the first write. The order of the writes is
# such that a power cut in between leaves no class filter list that names a disabled driver, which would keep
# the devices of that class from starting.
param(
    [string[]] $Service = @(),
    [int[]] $Start = @(),
    [string[]] $ClassFilter = @()
)
$ErrorActionPreference = 'Stop'
# Without this, Windows PowerShell may write an array inside an object as {"value":[...],"Count":n}.
Remove-TypeData -TypeName System.Array -ErrorAction SilentlyContinue

$disabled = 4
$machine = [Microsoft.Win32.Registry]::LocalMachine
if ($Service.Count -eq 0 -or $Service.Count -ne $Start.Count) {
    throw "Service has $($Service.Count) names and Start has $($Start.Count) numbers"
}

$keys = @{}
$starts = @{}
for ($i = 0; $i -lt $Service.Count; $i++) {
    $name = $Service[$i]
    if ($name -eq '' -or $name -match '[\\/]') { throw "'$name' is not a service name" }
    if ($keys.ContainsKey($name)) { throw "the service $name is named twice" }
    if ($Start[$i] -lt 0 -or $Start[$i] -gt $disabled) { throw "$($Start[$i]) is not a start type ($name)" }
    $key = $machine.OpenSubKey("SYSTEM\CurrentControlSet\Services\$name", $true)
    if ($null -eq $key) { throw "there is no service $name" }
    if ($key.GetValue('Type', 0) -notin 1, 2) { throw "the service $name is not a driver" }
    $keys[$name] = $key
    $starts[$name] = $Start[$i]
}

$wanted = @(foreach ($text in $ClassFilter) {
    $name, $guid, $position, $index = $text.Split('|')
    if ($null -eq $index -or $position -notin 'upper', 'lower' -or $index -notmatch '^\d{1,4}$') {
        throw "'$text' is not service|class guid|upper or lower|index"
    }
    if (-not $keys.ContainsKey($name)) { throw "'$text' places a driver that Service does not name" }
    if ($guid -notmatch '^\{[0-9A-Fa-f-]{36}\}$') { throw "'$text' has no class guid" }
    if ($null -eq $machine.OpenSubKey("SYSTEM\CurrentControlSet\Control\Class\$guid")) {
        throw "there is no device class $guid"
    }
    [pscustomobject] @{ service = $name; guid = $guid; position = $position; index = [int] $index }
})

# The lists that change: as they are now without the named drivers, then the wanted ones in rising order.
$changes = New-Object System.Collections.ArrayList
$classes = $machine.OpenSubKey('SYSTEM\CurrentControlSet\Control\Class')
foreach ($guid in $classes.GetSubKeyNames()) {
    foreach ($position in 'Upper', 'Lower') {
        $before = @($classes.OpenSubKey($guid).GetValue("${position}Filters", @()))
        $after = New-Object System.Collections.ArrayList
        foreach ($name in $before) { if (-not $keys.ContainsKey($name)) { $null = $after.Add($name) } }
        $here = @($wanted | Where-Object { $_.guid -eq $guid -and $_.position -eq $position })
        foreach ($place in @($here | Sort-Object -Property index)) {
            $after.Insert([Math]::Min($place.index, $after.Count), $place.service)
        }
        if (($before -join '|') -cne ($after -join '|')) {
            $null = $changes.Add([pscustomobject] @{
                key   = $classes.OpenSubKey($guid, $true)
                value = "${position}Filters"
                names = [string[]] $after.ToArray()
            })
        }
    }
}

foreach ($name in $keys.Keys) {
    if ($starts[$name] -ne $disabled) { $keys[$name].SetValue('Start', $starts[$name], 'DWord') }
}
foreach ($change in $changes) {
    if ($change.names.Count -eq 0) {
        $change.key.DeleteValue($change.value, $false)
    } else {
        $change.key.SetValue($change.value, [string[]] $change.names, 'MultiString')
    }
    $change.key.Flush()
}
foreach ($name in $keys.Keys) {
    if ($starts[$name] -eq $disabled) { $keys[$name].SetValue('Start', $disabled, 'DWord') }
    $keys[$name].Flush()
}

$held = @{}
foreach ($guid in $classes.GetSubKeyNames()) {
    $class = $classes.OpenSubKey($guid)
    foreach ($position in 'Upper', 'Lower') {
        $index = 0
        foreach ($name in @($class.GetValue("${position}Filters", @()))) {
            if (-not $held.ContainsKey($name)) { $held[$name] = New-Object System.Collections.ArrayList }
            $null = $held[$name].Add([pscustomobject] @{
                classGuid = $guid
                className = [string] $class.GetValue('Class', '')
                position  = $position.ToLowerInvariant()
                index     = $index
            })
            $index++
        }
    }
}
$rows = @(foreach ($name in $Service) {
    [pscustomobject] @{
        service      = $name
        start        = [int] $keys[$name].GetValue('Start', -1)
        classFilters = [object[]] @($held[$name] | Where-Object { $null -ne $_ })
    }
})
ConvertTo-Json -InputObject $rows -Compress -Depth 6
