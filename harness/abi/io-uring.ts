/** <linux/io_uring.h>, as far as buffers are pinned through it. */
export const IORING_REGISTER_BUFFERS = 0;
export const IORING_UNREGISTER_BUFFERS = 1;
/** sizeof(struct io_uring_params). */
export const IO_URING_PARAMS_SIZE = 120;
