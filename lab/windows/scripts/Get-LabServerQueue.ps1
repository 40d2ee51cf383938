#Requires -Version 5.1
# Script: Get-LabServerQueue
#
# The server's own count of its work queues ("Server Work Queues"): threads at work, threads that wait for
# work, and requests that wait for a thread, now. Class and property names are the same in every language of
# Windows. These counters are instantaneous (PERF_COUNTER_RAWCOUNT), so one look at the raw class is enough. A
# Windows without them (Server service not running, PerfNet disabled) is no error: the reason says so.
param()
$ErrorActionPreference = 'Stop'
# Without this, Windows PowerShell may write an array inside an object as {"value":[...],"Count":n}.
Remove-TypeData -TypeName System.Array -ErrorAction SilentlyContinue

$reason = ''
$queues = @()
try {
    $found = @(Get-CimInstance -ClassName Win32_PerfRawData_PerfNet_ServerWorkQueues -OperationTimeoutSec 15)
    $queues = @(foreach ($queue in $found) {
        [pscustomobject] @{
            name             = [string] $queue.Name
            activeThreads    = [long] $queue.ActiveThreads
            availableThreads = [long] $queue.AvailableThreads
            queueLength      = [long] $queue.QueueLength
            currentClients   = [long] $queue.CurrentClients
        }
    })
    if ($queues.Count -eq 0) { $reason = 'Server Work Queues has no instances' }
} catch {
    $queues = @()
    $reason = 'Server Work Queues cannot be read: {0}' -f $_.Exception.Message
}

$row = [pscustomobject] @{
    reason = $reason
    queues = $queues
}
ConvertTo-Json -InputObject @($row) -Compress -Depth 6
