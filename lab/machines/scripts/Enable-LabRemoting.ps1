#Requires -Version 5.1
# Script: Enable-LabRemoting
#
# Runs at the first log-on of a machine that the lab made. Opens WinRM over HTTPS with a certificate of its own,
# and tells that certificate to the hypervisor, where the lab reads it: so its first connection is verified.
param(
    [int] $Port = 5986
)
$ErrorActionPreference = 'Stop'

$tool = Join-Path -Path $env:ProgramFiles -ChildPath 'VMware\VMware Tools\rpctool.exe'

function Send-GuestInfo([string] $Key, [string] $Value) {
    if (-not (Test-Path -LiteralPath $tool)) { return }
    $null = & $tool "info-set guestinfo.bugchecklab.$Key $Value"
    if ($LASTEXITCODE -ne 0) { throw "rpctool.exe refused guestinfo.bugchecklab.$Key ($LASTEXITCODE)" }
}

try {
    $dns = @($env:COMPUTERNAME, [System.Net.Dns]::GetHostEntry('').HostName) | Select-Object -Unique
    $addresses = @(Get-NetIPAddress -AddressState Preferred | ForEach-Object { $_.IPAddress } |
            Where-Object { $_ -notmatch '^(127\.|169\.254\.|::1$|fe80:)' })
    $names = @($dns | ForEach-Object { "DNS=$_" }) + @($addresses | ForEach-Object { "IPAddress=$_" })

    # Its own issuer, and of nothing else: whoever verifies it has to trust exactly this certificate.
    $wanted = @{
        Subject           = "CN=$env:COMPUTERNAME"
        CertStoreLocation = 'Cert:\LocalMachine\My'
        NotAfter          = (Get-Date).AddYears(2)
        KeyExportPolicy   = 'NonExportable'
        KeyUsage          = 'DigitalSignature', 'KeyEncipherment', 'CertSign'
        TextExtension     = @(
            "2.5.29.17={text}$($names -join '&')"
            '2.5.29.19={critical}{text}ca=1&pathlength=0'
            '2.5.29.37={text}1.3.6.1.5.5.7.3.1'
        )
    }
    $certificate = New-SelfSignedCertificate @wanted

    Set-Service -Name WinRM -StartupType Automatic
    Start-Service -Name WinRM
    Get-ChildItem -Path WSMan:\localhost\Listener | Where-Object { $_.Keys -contains 'Transport=HTTPS' } |
        Remove-Item -Recurse -Force
    $listener = @{
        Path                  = 'WSMan:\localhost\Listener'
        Transport             = 'HTTPS'
        Address               = '*'
        Port                  = $Port
        CertificateThumbPrint = $certificate.Thumbprint
    }
    $null = New-Item @listener -Force

    $rule = 'BugcheckLab-WinRM-HTTPS'
    Get-NetFirewallRule -Name $rule -ErrorAction SilentlyContinue | Remove-NetFirewallRule
    $open = @{
        Name        = $rule
        DisplayName = 'Bugcheck Lab: WinRM over HTTPS'
        Direction   = 'Inbound'
        Protocol    = 'TCP'
        LocalPort   = $Port
        Action      = 'Allow'
        Profile     = 'Any'
    }
    $null = New-NetFirewallRule @open

    Send-GuestInfo -Key 'certificate' -Value ([Convert]::ToBase64String($certificate.RawData))
} catch {
    Send-GuestInfo -Key 'trouble' -Value ($_.Exception.Message -replace '\s+', ' ')
    throw
}

$row = [pscustomobject] @{
    thumbprint = $certificate.Thumbprint
    names      = @($dns) + @($addresses)
}
ConvertTo-Json -InputObject @($row) -Compress -Depth 6
