package main

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// announce posts the event that says what a clone will be called, and returns the chain that it begins: a task
// knows only its source. The simulator posts one with the wrong time, and none for a template.
func (f *front) announce(request *types.CloneVM_Task, source *simulator.VirtualMachine) int32 {
	name := types.EntityEventArgument{Name: source.Name}
	vm := &types.VmEventArgument{EntityEventArgument: name, Vm: source.Self}
	var event types.BaseEvent = &types.VmBeingClonedEvent{
		VmCloneEvent: types.VmCloneEvent{VmEvent: types.VmEvent{Event: types.Event{Vm: vm}}},
		DestName:     request.Name,
		DestFolder:   types.FolderEventArgument{Folder: request.Folder},
		DestHost:     types.HostEventArgument{Host: *source.Runtime.Host},
	}
	if source.Config.Template {
		template := *vm
		vm.Name = request.Name
		event = &types.VmBeingDeployedEvent{
			VmEvent: types.VmEvent{Event: types.Event{Vm: vm}}, SrcTemplate: template,
		}
	}
	manager := simulator.Map.EventManager().Self
	body := &methods.PostEventBody{Req: &types.PostEvent{This: manager, EventToPost: event}}
	check(f.service.RoundTrip(context.Background(), body, &methods.PostEventBody{}))
	return event.GetEvent().ChainId
}

func (f *front) clone(
	request *types.CloneVM_Task, source *simulator.VirtualMachine, now control,
) (types.AnyType, *types.LocalizedMethodFault) {
	folder, ok := simulator.Map.Get(request.Folder).(*simulator.Folder)
	if !ok {
		return nil, failed(&types.ManagedObjectNotFound{Obj: request.Folder}, "The object has already been deleted.")
	}
	for _, child := range folder.ChildEntity {
		if nameOf(child) == request.Name {
			fault := &types.DuplicateName{Name: request.Name, Object: child}
			return nil, failed(fault, fmt.Sprintf("The name '%s' already exists.", request.Name))
		}
	}
	plain := *request
	plain.Spec.Config, plain.Spec.PowerOn, plain.Spec.Customization = nil, false, nil
	kept := copyDevices(source)
	made, fault := f.inner(&methods.CloneVM_TaskBody{Req: &plain}, &methods.CloneVM_TaskBody{})
	if fault != nil {
		setDevices(source, kept)
		return nil, fault
	}
	ref := made.(types.ManagedObjectReference)
	vm := machine(ref)
	separate(source, vm, kept, request.Spec.Location.DiskMoveType == "createNewChildDiskBacking")
	return ref, f.finish(request, vm, now)
}

// finish does with a clone what the simulator leaves out: hardware, customization, power.
func (f *front) finish(
	request *types.CloneVM_Task, vm *simulator.VirtualMachine, now control,
) *types.LocalizedMethodFault {
	if request.Spec.Config != nil {
		body := &methods.ReconfigVM_TaskBody{Req: &types.ReconfigVM_Task{This: vm.Self, Spec: *request.Spec.Config}}
		if _, fault := f.inner(body, &methods.ReconfigVM_TaskBody{}); fault != nil {
			return fault
		}
	}
	if request.Spec.Customization != nil {
		body := &methods.CustomizeVM_TaskBody{
			Req: &types.CustomizeVM_Task{This: vm.Self, Spec: *request.Spec.Customization},
		}
		if _, fault := f.inner(body, &methods.CustomizeVM_TaskBody{}); fault != nil {
			return fault
		}
	}
	if request.Spec.PowerOn {
		body := &methods.PowerOnVM_TaskBody{Req: &types.PowerOnVM_Task{This: vm.Self}}
		_, fault := f.powered(body, &methods.PowerOnVM_TaskBody{}, vm, "On", now)()
		return fault
	}
	return nil
}

// separate gives a clone disks of its own: the simulator lets it share them with its source, under the clone's
// file names. The disks of a linked clone have the source's as parents.
func separate(source, vm *simulator.VirtualMachine, kept []types.BaseVirtualDevice, linked bool) {
	own := copyDevices(vm)
	parents := map[int32]*types.VirtualDiskFlatVer2BackingInfo{}
	for _, device := range kept {
		if disk, backing := flatDisk(device); disk != nil {
			own := *backing
			parents[disk.Key] = &own
		}
	}
	for _, device := range own {
		if disk, backing := flatDisk(device); disk != nil && linked {
			backing.Parent = parents[disk.Key]
		}
	}
	setDevices(vm, own)
	setDevices(source, kept)
}

func flatDisk(device types.BaseVirtualDevice) (*types.VirtualDisk, *types.VirtualDiskFlatVer2BackingInfo) {
	if disk, ok := device.(*types.VirtualDisk); ok {
		if backing, flat := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); flat {
			return disk, backing
		}
	}
	return nil, nil
}

func copyDevices(vm *simulator.VirtualMachine) []types.BaseVirtualDevice {
	var devices []types.BaseVirtualDevice
	for _, device := range vm.Config.Hardware.Device {
		if disk, backing := flatDisk(device); disk != nil {
			ownDisk, ownBacking := *disk, *backing
			ownDisk.Backing = &ownBacking
			device = &ownDisk
		}
		devices = append(devices, device)
	}
	return devices
}

func setDevices(vm *simulator.VirtualMachine, devices []types.BaseVirtualDevice) {
	update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: devices}})
}
