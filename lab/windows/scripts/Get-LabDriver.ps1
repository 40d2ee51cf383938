#Requires -Version 5.1
# Script: Get-LabDriver
#
# Every kernel driver (Type 1) and file system driver (Type 2) that is registered, running or not.
# Checking the signatures of some 400 images costs 5 to 60 seconds, most of it on the first run after a start.
param()
$ErrorActionPreference = 'Stop'
# Without this, Windows PowerShell may write an array inside an object as {"value":[...],"Count":n}.
Remove-TypeData -TypeName System.Array -ErrorAction SilentlyContinue

# ImagePath has five forms: none at all (then drivers\NAME.sys), \SystemRoot\..., \??\C:\...,
# System32\... relative to the Windows folder, and an ordinary path.
function Resolve-Image([string] $path, [string] $service) {
    $file = [Environment]::ExpandEnvironmentVariables($path.Trim().Trim('"'))
    if ($file -eq '') { return "$env:SystemRoot\System32\drivers\$service.sys" }
    if ($file.StartsWith('\??\')) { return $file.Substring(4) }
    if ($file -like '\SystemRoot\*') { return $env:SystemRoot + $file.Substring(11) }
    if ($file -match '^[A-Za-z]:\\') { return $file }
    if ($file -like '\Windows\*') { return $env:SystemDrive + $file }
    if ($file.StartsWith('\')) { return $file }
    return Join-Path -Path $env:SystemRoot -ChildPath $file
}

# Before Windows 8, Get-AuthenticodeSignature does not look into catalogues, and most in-box drivers are
# signed only there. So ask for the catalogue that holds the image's hash, and check that one's signature.
$oldest = [Environment]::OSVersion.Version -lt [version] '6.2'
if ($oldest -and -not ('BugcheckLab.Catalogue' -as [type])) {
    Add-Type -TypeDefinition @'
using System;
using System.IO;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
namespace BugcheckLab {
    public static class Catalogue {
        [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
        struct Info {
            public int Size;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 260)] public string File;
        }
        [DllImport("wintrust.dll")]
        static extern bool CryptCATAdminAcquireContext(out IntPtr admin, IntPtr subsystem, int flags);
        [DllImport("wintrust.dll")]
        static extern bool CryptCATAdminReleaseContext(IntPtr admin, int flags);
        [DllImport("wintrust.dll")]
        static extern bool CryptCATAdminCalcHashFromFileHandle(
            SafeFileHandle file, ref int size, byte[] hash, int flags);
        [DllImport("wintrust.dll")]
        static extern IntPtr CryptCATAdminEnumCatalogFromHash(
            IntPtr admin, byte[] hash, int size, int flags, IntPtr previous);
        [DllImport("wintrust.dll")]
        static extern bool CryptCATAdminReleaseCatalogContext(IntPtr admin, IntPtr catalogue, int flags);
        [DllImport("wintrust.dll", CharSet = CharSet.Unicode)]
        static extern bool CryptCATCatalogInfoFromContext(IntPtr catalogue, ref Info info, int flags);

        public static string Find(string path) {
            IntPtr admin;
            if (!CryptCATAdminAcquireContext(out admin, IntPtr.Zero, 0)) return "";
            try {
                using (FileStream file = File.OpenRead(path)) {
                    byte[] hash = new byte[64];
                    int size = hash.Length;
                    if (!CryptCATAdminCalcHashFromFileHandle(file.SafeFileHandle, ref size, hash, 0)) {
                        return "";
                    }
                    IntPtr found = CryptCATAdminEnumCatalogFromHash(admin, hash, size, 0, IntPtr.Zero);
                    if (found == IntPtr.Zero) return "";
                    Info info = new Info();
                    info.Size = Marshal.SizeOf(typeof(Info));
                    bool known = CryptCATCatalogInfoFromContext(found, ref info, 0);
                    CryptCATAdminReleaseCatalogContext(admin, found, 0);
                    return known ? info.File : "";
                }
            } finally {
                CryptCATAdminReleaseContext(admin, 0);
            }
        }
    }
}
'@
}

# The common name on the certificate that signed a file; '' unless Windows finds the signature valid.
function Get-Signer([string] $file) {
    $signature = Get-AuthenticodeSignature -LiteralPath $file
    if ($oldest -and $signature.Status -ne 'Valid') {
        $catalogue = [BugcheckLab.Catalogue]::Find($file)
        if ($catalogue -ne '') { $signature = Get-AuthenticodeSignature -LiteralPath $catalogue }
    }
    if ($signature.Status -ne 'Valid' -or $null -eq $signature.SignerCertificate) { return '' }
    return $signature.SignerCertificate.GetNameInfo('SimpleName', $false)
}

# Altitudes of a minifilter's instances. The newest builds keep them below Parameters.
function Get-Altitude([Microsoft.Win32.RegistryKey] $service) {
    foreach ($place in 'Instances', 'Parameters\Instances') {
        $instances = $service.OpenSubKey($place)
        if ($null -eq $instances) { continue }
        foreach ($name in $instances.GetSubKeyNames()) {
            $altitude = [string] $instances.OpenSubKey($name).GetValue('Altitude', '')
            if ($altitude -ne '') { $altitude }
        }
    }
}

$machine = [Microsoft.Win32.Registry]::LocalMachine
$filters = @{}
$classes = $machine.OpenSubKey('SYSTEM\CurrentControlSet\Control\Class')
foreach ($guid in $classes.GetSubKeyNames()) {
    $class = $classes.OpenSubKey($guid)
    foreach ($position in 'Upper', 'Lower') {
        $index = 0
        foreach ($name in @($class.GetValue("${position}Filters", @()))) {
            if (-not $filters.ContainsKey($name)) {
                $filters[$name] = New-Object System.Collections.ArrayList
            }
            $null = $filters[$name].Add([pscustomobject] @{
                classGuid = $guid
                className = [string] $class.GetValue('Class', '')
                position  = $position.ToLowerInvariant()
                index     = $index
            })
            $index++
        }
    }
}

$running = @{}
$shown = @{}
foreach ($driver in @(Get-CimInstance -ClassName Win32_SystemDriver)) {
    $running[$driver.Name] = [bool] $driver.Started
    $shown[$driver.Name] = [string] $driver.DisplayName
}

$services = $machine.OpenSubKey('SYSTEM\CurrentControlSet\Services')
$rows = @(foreach ($name in $services.GetSubKeyNames()) {
    try {
        $key = $services.OpenSubKey($name)
    } catch [System.Security.SecurityException] {
        if ($running[$name]) { throw "the service key of the running driver $name may not be read" }
        continue
    }
    $type = $key.GetValue('Type', $null)
    $start = $key.GetValue('Start', $null)
    if ($type -notin 1, 2 -or $null -eq $start) { continue }

    $raw = [string] $key.GetValue('ImagePath', '', 'DoNotExpandEnvironmentNames')
    $file = Resolve-Image $raw $name
    $company = ''
    $version = ''
    $signer = ''
    if (Test-Path -LiteralPath $file -PathType Leaf) {
        $info = [System.Diagnostics.FileVersionInfo]::GetVersionInfo($file)
        $company = [string] $info.CompanyName
        $parts = $info.FileMajorPart, $info.FileMinorPart, $info.FileBuildPart, $info.FilePrivatePart
        if (($parts | Measure-Object -Sum).Sum -gt 0) { $version = $parts -join '.' }
        $signer = [string] (Get-Signer $file)
    }
    [pscustomobject] @{
        service      = $name
        displayName  = if ($shown[$name]) { $shown[$name] } else { [string] $key.GetValue('DisplayName', '') }
        imagePath    = if ($raw -ne '') { $raw } else { $file }
        start        = [int] $start
        errorControl = [int] $key.GetValue('ErrorControl', 1)
        group        = [string] $key.GetValue('Group', '')
        type         = [int] $type
        running      = [bool] $running[$name]
        company      = $company.Trim()
        signer       = $signer
        version      = $version
        altitudes    = [string[]] @(Get-Altitude $key)
        classFilters = [object[]] @($filters[$name] | Where-Object { $null -ne $_ })
        dependsOn    = [string[]] @($key.GetValue('DependOnService', @()) | Where-Object { $_ })
    }
})
ConvertTo-Json -InputObject $rows -Compress -Depth 6
