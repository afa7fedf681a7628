/** `<linux/kvm.h>`: what all its parts are numbered by. */
export const KVMIO = 0xae;
export const KVM_API_VERSION = 12;
