#!/bin/sh
# PID 1 of the guest. First in the initramfs: loads the modules that boot needs and puts the root
# file system together; then again, from there, with the argument "inside": runs the worker.
# /conformance/parameters, written by the supervisor, sets what is used here in capitals.

say() { # one line to the supervisor, over a port of its own; the console is the kernel's
  [ -n "$STATUS_PORT" ] && echo "$*" > "$STATUS_PORT"
}

give_up() {
  echo "vfio-conformance: $*" > /dev/console
  say "failed $*"
  poweroff -f
}

port_named() {
  for p in /sys/class/virtio-ports/*; do
    if [ "$(cat "$p/name" 2>/dev/null)" = "$1" ]; then
      echo "/dev/${p##*/}"
      return
    fi
  done
}

if [ "$1" != inside ]; then
  export PATH=/bin
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t devtmpfs dev /dev
  . /conformance/parameters
  while read -r module; do
    # Modules of the kernel come with their own parameters from the command line only through
    # modprobe; insmod takes them from here.
    insmod "/modules/$module" $(cat "/conformance/module-parameters/$module" 2>/dev/null) \
      || echo "vfio-conformance: cannot load $module" > /dev/console
  done < /conformance/modules
  # Devices behind virtio-iommu are probed late, in the background.
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    STATUS_PORT=$(port_named conformance.status)
    [ -n "$STATUS_PORT" ] && break
    sleep 0.3
  done
  say "booted $(uname -r)"
  [ -d /proc/sys/kernel ] || give_up "the kernel has no /proc/sys (CONFIG_SYSCTL)"
  options=trans=virtio,version=9p2000.L,msize=512000
  mount -t 9p -o "$options,cache=loose,ro" root /lower || give_up "cannot mount the shared root (9p over virtio)"
  mount -t tmpfs -o mode=755 tmpfs /upper
  mkdir /upper/files /upper/work
  mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /newroot \
    || give_up "cannot mount the overlay over the shared root (CONFIG_OVERLAY_FS)"
  for d in /newroot/run /newroot/tmp; do
    mkdir -p "$d"
    mount -t tmpfs -o mode=1777 tmpfs "$d"
  done
  for d in proc sys dev; do
    mkdir -p "/newroot/$d"
    mount --move "/$d" "/newroot/$d"
  done
  # What lies in a folder that is fresh in the guest has to be brought back.
  for d in $KEEP; do
    mkdir -p "/newroot$d"
    mount --bind "/lower$d" "/newroot$d"
  done
  if [ -n "$MODULES_DIR" ]; then
    mkdir -p "/newroot/lib/modules/$(uname -r)"
    mount --bind "/lower$MODULES_DIR" "/newroot/lib/modules/$(uname -r)"
  fi
  mkdir -p /newroot/run/vfio-conformance/results
  mount -t 9p -o "$options,cache=none" results /newroot/run/vfio-conformance/results \
    || give_up "cannot mount the results folder (9p over virtio)"
  cp /bin/busybox /init /conformance/parameters /newroot/run/vfio-conformance/
  exec switch_root /newroot /run/vfio-conformance/busybox sh /run/vfio-conformance/init inside
fi

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
export RESULTS=/run/vfio-conformance/results
busybox=/run/vfio-conformance/busybox
poweroff() { $busybox poweroff "$@"; }
. /run/vfio-conformance/parameters
STATUS_PORT=$(port_named conformance.status)
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
# It tells whether the kernel is locked down; not every kernel has it.
[ ! -d /sys/kernel/security ] || mount -t securityfs securityfs /sys/kernel/security
$busybox ifconfig lo up
$busybox hostname vfio-conformance
ln -sf /proc/self/fd /dev/fd
# No daemon of a distribution must see, or be confused by, the emulated devices.
echo /bin/true > /proc/sys/kernel/modprobe 2>/dev/null && echo /sbin/modprobe > /proc/sys/kernel/modprobe
cd "$PROJECT" || give_up "the project's folder $PROJECT is not visible in the guest"
[ -c /dev/vfio/vfio ] || say "missing /dev/vfio/vfio (CONFIG_VFIO, CONFIG_VFIO_CONTAINER)"
[ -d /sys/bus/pci/drivers/vfio-pci ] || say "missing the driver vfio-pci (CONFIG_VFIO_PCI)"
[ -n "$(ls /sys/kernel/iommu_groups 2>/dev/null)" ] || say "missing IOMMU groups: no IOMMU driver took the machine's IOMMU"
# Before Linux 7 a device behind virtio-iommu gets its group only when a driver is probed for it.
for device in /sys/bus/pci/devices/*; do
  [ -e "$device/iommu_group" ] || [ -e "$device/driver" ] && continue
  echo vfio-pci > "$device/driver_override"
  echo "${device##*/}" > /sys/bus/pci/drivers_probe
  [ -e "$device/driver" ] && echo "${device##*/}" > "$device/driver/unbind"
  echo > "$device/driver_override"
done 2>/dev/null
if [ -n "$BEFORE" ]; then
  say "before"
  sh -c "$BEFORE" > "$RESULTS/before.log" 2>&1
  status=$?
  [ $status -eq 0 ] || say "hook-failed --before ended with status $status, see before.log"
fi
say "worker"
eval "$WORKER" --channel "$(port_named conformance.events)" > /dev/console 2>&1 < /dev/null
say "worker-exit $?"
if [ -n "$AFTER" ]; then
  say "after"
  sh -c "$AFTER" > "$RESULTS/after.log" 2>&1
  status=$?
  [ $status -eq 0 ] || say "hook-failed --after ended with status $status, see after.log"
fi
sync
umount "$RESULTS"
say "off"
poweroff -f
