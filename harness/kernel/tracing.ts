/** Where the kernel's trace file system is mounted. */
export const TRACING = '/sys/kernel/tracing';

/** An instance of our own: whatever else is traced goes on undisturbed. */
export const TRACING_INSTANCE = `${TRACING}/instances/vfio-conformance`;
