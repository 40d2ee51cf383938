package main

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// state is what a snapshot brings back besides the disks, which nobody simulates.
type state struct {
	power    types.VirtualMachinePowerState
	cpus     int32
	memoryMB int32
}

type work func() (types.AnyType, *types.LocalizedMethodFault)

func machine(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	if snapshot, ok := simulator.Map.Get(ref).(*simulator.VirtualMachineSnapshot); ok {
		ref = snapshot.Vm
	}
	vm, _ := simulator.Map.Get(ref).(*simulator.VirtualMachine)
	return vm
}

func nameOf(ref types.ManagedObjectReference) string {
	if vm := machine(ref); vm != nil {
		return vm.Name
	}
	return ""
}

// carryOut does what a method of a virtual machine does, in a task that takes its time. It returns nil for
// the methods that are left to the simulator.
func (f *front) carryOut(method *simulator.Method, now control) soap.HasFault {
	wrong := f.fault(now, method.Name, method.This)
	vm := machine(method.This)
	if !strings.HasSuffix(method.Name, "_Task") {
		if wrong != nil {
			return refuse(wrong)
		}
		switch request := method.Body.(type) {
		case *types.SendNMI:
			return f.sendNMI(vm, now)
		case *types.CancelTask:
			return f.cancel(method.This, now)
		case *types.RecommendDatastores:
			return f.recommend(request)
		}
		return nil
	}
	if vm == nil {
		return nil
	}
	if _, ok := method.Body.(*types.PowerOnVM_Task); ok && vm.Config.Template {
		return refuse(failed(&types.InvalidState{}, "The operation is not allowed in the current state."))
	}
	do := f.workOf(method, vm, now)
	if do == nil {
		return nil
	}
	if wrong != nil {
		do = func() (types.AnyType, *types.LocalizedMethodFault) { return nil, wrong }
	}
	chain := int32(0)
	if request, ok := method.Body.(*types.CloneVM_Task); ok {
		chain = f.announce(request, vm)
	}
	return &started{method.Name, f.start(vm, method.Name, chain, now, do)}
}

func refuse(fault *types.LocalizedMethodFault) soap.HasFault {
	made := simulator.Fault(fault.LocalizedMessage, fault.Fault.(types.BaseMethodFault))
	return &methods.LoginBody{Fault_: made}
}

func (f *front) workOf(method *simulator.Method, vm *simulator.VirtualMachine, now control) work {
	switch request := method.Body.(type) {
	case *types.PowerOnVM_Task:
		return f.powered(&methods.PowerOnVM_TaskBody{Req: request}, &methods.PowerOnVM_TaskBody{}, vm, "On", now)
	case *types.PowerOffVM_Task:
		return f.powered(&methods.PowerOffVM_TaskBody{Req: request}, &methods.PowerOffVM_TaskBody{}, vm, "ForceOff", now)
	case *types.ResetVM_Task:
		return f.powered(&methods.ResetVM_TaskBody{Req: request}, &methods.ResetVM_TaskBody{}, vm, "ForceRestart", now)
	case *types.CreateSnapshot_Task:
		return func() (types.AnyType, *types.LocalizedMethodFault) { return f.snapshot(request, vm) }
	case *types.RevertToSnapshot_Task:
		return func() (types.AnyType, *types.LocalizedMethodFault) { return f.revert(request, vm, now) }
	case *types.RemoveSnapshot_Task:
		return func() (types.AnyType, *types.LocalizedMethodFault) {
			return f.inner(&methods.RemoveSnapshot_TaskBody{Req: request}, &methods.RemoveSnapshot_TaskBody{})
		}
	case *types.CreateScreenshot_Task:
		return func() (types.AnyType, *types.LocalizedMethodFault) { return screenshot(vm) }
	case *types.ReconfigVM_Task:
		return func() (types.AnyType, *types.LocalizedMethodFault) {
			return f.inner(&methods.ReconfigVM_TaskBody{Req: request}, &methods.ReconfigVM_TaskBody{})
		}
	case *types.CloneVM_Task:
		return func() (types.AnyType, *types.LocalizedMethodFault) { return f.clone(request, vm, now) }
	case *types.Destroy_Task:
		return func() (types.AnyType, *types.LocalizedMethodFault) {
			if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
				return nil, wrongPower(vm) // the simulator would destroy it
			}
			return f.inner(&methods.Destroy_TaskBody{Req: request}, &methods.Destroy_TaskBody{})
		}
	}
	return nil
}

// inner lets the simulator carry a method out, and returns what its task came to.
func (f *front) inner(request, response soap.HasFault) (types.AnyType, *types.LocalizedMethodFault) {
	if err := f.service.RoundTrip(context.Background(), request, response); err != nil {
		said := soap.ToSoapFault(err)
		return nil, failed(said.VimFault().(types.BaseMethodFault), said.String)
	}
	result := reflect.ValueOf(response).Elem().FieldByName("Res").Elem().FieldByName("Returnval")
	info := simulator.Map.Get(result.Interface().(types.ManagedObjectReference)).(*simulator.Task).Info
	if info.Error != nil {
		if _, ok := info.Error.Fault.(*types.InvalidPowerState); ok {
			info.Error.LocalizedMessage = powerText
		}
		return nil, info.Error
	}
	return info.Result, nil
}

const powerText = "The attempted operation cannot be performed in the current state."

func wrongPower(vm *simulator.VirtualMachine) *types.LocalizedMethodFault {
	fault := &types.InvalidPowerState{ExistingState: vm.Runtime.PowerState}
	return failed(fault, powerText)
}

// powered is a change of power that also reaches what stands behind the machine.
func (f *front) powered(
	request, response soap.HasFault, vm *simulator.VirtualMachine, kind string, now control,
) work {
	return func() (types.AnyType, *types.LocalizedMethodFault) {
		if kind == "ForceRestart" && vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			return nil, wrongPower(vm)
		}
		if _, fault := f.inner(request, response); fault != nil {
			return nil, fault
		}
		setGuest(vm, now.Behind[vm.Name], kind != "ForceOff")
		return nil, now.Behind[vm.Name].reset(kind)
	}
}

// setGuest is what VMware Tools tell, or stop telling.
func setGuest(vm *simulator.VirtualMachine, behind behind, running bool) {
	status, state := types.VirtualMachineToolsRunningStatusGuestToolsNotRunning, "notRunning"
	address := ""
	if running {
		address = vm.Guest.IpAddress // by customization
		if behind.Address != "" {
			address = behind.Address
		}
	}
	if running && !behind.NoTools {
		status, state = types.VirtualMachineToolsRunningStatusGuestToolsRunning, "running"
	}
	if behind.NoTools {
		address = ""
	}
	update(vm, []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: string(status)},
		{Name: "guest.guestState", Val: state},
		{Name: "guest.ipAddress", Val: address},
	})
}

func (f *front) sendNMI(vm *simulator.VirtualMachine, now control) soap.HasFault {
	if vm == nil {
		return nil
	}
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return refuse(wrongPower(vm))
	}
	if fault := now.Behind[vm.Name].reset("Nmi"); fault != nil {
		return refuse(fault)
	}
	return &done{"SendNMI"}
}

// start runs work in a task of the machine, with progress, and as long as the test wants.
func (f *front) start(
	vm *simulator.VirtualMachine, method string, chain int32, now control, do work,
) types.ManagedObjectReference {
	name := strings.ToLower(method[:1]) + strings.TrimSuffix(strings.TrimSuffix(method[1:], "_Task"), "VM")
	task := simulator.CreateTask(vm, name, nil) // "VirtualMachine.clone", as a vCenter describes it
	cancel := make(chan struct{}, 1)
	f.own.Lock()
	f.jobs[task.Self] = cancel
	f.own.Unlock()
	update(task, []types.PropertyChange{
		{Name: "info.state", Val: types.TaskInfoStateRunning},
		{Name: "info.startTime", Val: time.Now()},
		{Name: "info.cancelable", Val: !now.Stuck},
		{Name: "info.entityName", Val: vm.Name},
		{Name: "info.eventChainId", Val: chain},
	})
	ask(vm, now.Question)
	go func() {
		result, fault := f.run(task, now.Work[method], cancel, do)
		f.own.Lock()
		delete(f.jobs, task.Self)
		f.own.Unlock()
		if fault != nil {
			update(task, []types.PropertyChange{
				{Name: "info.error", Val: *fault},
				{Name: "info.completeTime", Val: time.Now()},
				{Name: "info.state", Val: types.TaskInfoStateError},
			})
			return
		}
		update(task, []types.PropertyChange{
			{Name: "info.result", Val: result},
			{Name: "info.completeTime", Val: time.Now()},
			{Name: "info.state", Val: types.TaskInfoStateSuccess},
		})
	}()
	return task.Self
}

func ask(vm *simulator.VirtualMachine, text string) {
	if text != "" {
		question := &types.VirtualMachineQuestionInfo{Id: "1", Text: text}
		update(vm, []types.PropertyChange{{Name: "runtime.question", Val: question}})
	}
}

func (f *front) run(
	task *simulator.Task, seconds float64, cancel chan struct{}, do work,
) (result types.AnyType, fault *types.LocalizedMethodFault) {
	defer func() {
		if problem := recover(); problem != nil { // a gap of the simulator: the test shall see which
			fault = failed(&types.SystemError{}, fmt.Sprintf("the simulator panicked: %v", problem))
		}
	}()
	const steps = 20
	for step := int32(1); seconds > 0 && step <= steps; step++ {
		if f.cancelled(cancel, seconds/steps) {
			return nil, failed(&types.RequestCanceled{}, "The task was canceled by a user.")
		}
		update(task, []types.PropertyChange{{Name: "info.progress", Val: step * 99 / steps}})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return do()
}

// cancelled waits so many seconds, or until the test wants all tasks to end.
func (f *front) cancelled(cancel chan struct{}, seconds float64) bool {
	const look = 50 * time.Millisecond
	for left := time.Duration(seconds * float64(time.Second)); left > 0 && !f.control().Finish; left -= look {
		pause := look
		if left < look {
			pause = left
		}
		select {
		case <-cancel:
			return true
		case <-time.After(pause):
		}
	}
	return false
}

func (f *front) cancel(task types.ManagedObjectReference, now control) soap.HasFault {
	f.own.Lock()
	job := f.jobs[task]
	f.own.Unlock()
	if job == nil || now.Stuck {
		return refuse(failed(&types.NotSupported{}, "The task cannot be canceled."))
	}
	select {
	case job <- struct{}{}:
	default:
	}
	return &done{"CancelTask"}
}
