#!/bin/sh
# Finds the commit that broke a promise, in a kernel tree:
#
#     git bisect start BAD GOOD
#     git bisect run .../bisect.sh container.map-dma.overlap
#
# with a .config that the virtual machine can boot (VFIO, VFIO_PCI, VFIO_IOMMU_TYPE1, INTEL_IOMMU,
# VIRTIO_PCI, VIRTIO_CONSOLE, NET_9P_VIRTIO, 9P_FS, OVERLAY_FS).
make olddefconfig >&2 || exit 125
make -j"$(nproc)" >&2 || exit 125
vfio-conformance run --kernel . --quiet --bail 1 "$@"
case $? in
  0) exit 0 ;;      # all as expected: good
  1 | 5) exit 1 ;;  # failures, or the kernel died: bad
  130) exit 255 ;;  # interrupted: stop bisecting
  *) exit 125 ;;    # not tested: skip this commit
esac
