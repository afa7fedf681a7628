/** From the open of a device's own node to its close. */
import {
  AT_FDCWD,
  BIND_SIZE_WITHOUT_TOKEN,
  CDEV,
  O_CLOEXEC,
  O_RDWR,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  bench,
  deviceNode,
  vfio_device_attach_iommufd_pt,
  vfio_device_bind_iommufd,
  vfio_device_detach_iommufd_pt,
  type Ref,
} from '../../harness/testing/index.ts';

/** Sizes without the PASID. */
const ATTACH_SIZE = 12;
const DETACH_SIZE = 8;

bench(
  'device.cdev.life',
  'all that a user of iommufd does with a device, step by step',
  {
    covers: [
      VFIO_DEVICE_BIND_IOMMUFD,
      VFIO_DEVICE_ATTACH_IOMMUFD_PT,
      VFIO_DEVICE_DETACH_IOMMUFD_PT,
    ],
    devices: ['edu', 'nvme'],
    needs: [CDEV],
    operations: ['open', 'bind', 'attach', 'detach', 'close', 'whole'],
  },
  ({ pci, iommufd }, measure) => {
    const io = iommufd();
    const ioas = io.allocIoas();
    measure((program, timed) => {
      const step = (name: string, ref: Ref): Ref => {
        timed(name, ref);
        return ref;
      };
      const node = program.data(deviceNode(pci));
      const device = step('open', program.syscall('openat', AT_FDCWD, node, O_RDWR | O_CLOEXEC, 0));
      const call = (name: string, ioctl: { request: number }, argument: Buffer) =>
        step(name, program.syscall('ioctl', device, ioctl.request, program.data(argument)));
      call(
        'bind',
        VFIO_DEVICE_BIND_IOMMUFD,
        vfio_device_bind_iommufd.encode({
          argsz: BIND_SIZE_WITHOUT_TOKEN,
          flags: 0,
          iommufd: io.fd,
          out_devid: 0,
          token_uuid_ptr: 0n,
        }),
      );
      const attach = program.data(
        vfio_device_attach_iommufd_pt.encode({ argsz: ATTACH_SIZE, flags: 0, pt_id: 0, pasid: 0 }),
      );
      // The kernel leaves there which page table it took.
      program.store(32, attach.at(vfio_device_attach_iommufd_pt.offsetof('pt_id')), ioas);
      step(
        'attach',
        program.syscall('ioctl', device, VFIO_DEVICE_ATTACH_IOMMUFD_PT.request, attach),
      );
      call(
        'detach',
        VFIO_DEVICE_DETACH_IOMMUFD_PT,
        vfio_device_detach_iommufd_pt.encode({ argsz: DETACH_SIZE, flags: 0, pasid: 0 }),
      );
      const close = step('close', program.syscall('close', device));
      timed('whole', device, close);
    });
  },
);
