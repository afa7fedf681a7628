#!/bin/sh
# Finds the commit that broke a promise, in a kernel tree:
#
#     git bisect start BAD GOOD
#     git bisect run "$(npm root --global)/vfio-conformance/docs/ci/bisect.sh" container.map-dma.overlap
#
# with a .config that the virtual machine can boot (VFIO, VFIO_PCI, VFIO_IOMMU_TYPE1, INTEL_IOMMU,
# VIRTIO_PCI, VIRTIO_CONSOLE, NET_9P_VIRTIO, 9P_FS, OVERLAY_FS). Have `npm install --global vfio-conformance`
# and one `vfio-conformance run` as root behind you: the Debian packages are there then.

# What is wrong with the command is so on every commit. Options of `run` are none of `list`.
case " $*" in
  *' -'*) ;;
  *) vfio-conformance list "$@" >/dev/null || exit 255 ;;
esac

make olddefconfig >&2 || exit 125
make -j"$(nproc)" >&2 || exit 125
vfio-conformance run --kernel . --quiet --bail 1 "$@"
case $? in
  0) exit 0 ;;                     # all as expected: good
  1 | 5) exit 1 ;;                 # failures, or the kernel died: bad
  2 | 126 | 127 | 130) exit 255 ;; # a wrong command line, no such command, interrupted: stop bisecting
  *) exit 125 ;;                   # not tested, as with a kernel that does not boot: skip this commit
esac
