/**
 * What a guest runs: real-mode code that counts its interrupts. After every interrupt it leaves for user space by
 * an I/O port, and while it has nothing to do too, so that no run of it lasts, or it sleeps until the next one.
 */

/** Bytes of the guest's memory, from address 0 on. */
export const GUEST_MEMORY = 0x1_0000;
/** The pin of the interrupt controller that the line is connected to. */
export const LINE_PIN = 5;
const FIRST_PIN_VECTOR = 0x20;
export const LINE_VECTOR = FIRST_PIN_VECTOR + LINE_PIN;
/** The first of the vectors for messages. */
export const MESSAGE_VECTOR = 0x40;

const COUNTERS = 0x2000;
const STACK = 0x8000;
const START = 0x1000;
const HANDLERS = 0x1100;
const HANDLER_SIZE = 0x40;
/** Where the processor begins after its reset. */
const RESET = 0xfff0;

const LOCAL_APIC = 0xfee0_0000;
const APIC_END_OF_INTERRUPT = LOCAL_APIC + 0xb0;
const APIC_SPURIOUS_VECTOR = LOCAL_APIC + 0xf0;
/** Bits of the vectors whose interrupts are being handled, 32 in each 16 bytes. */
const APIC_IN_SERVICE = LOCAL_APIC + 0x100;
const APIC_ENABLED = 0x1ff;

/** Ports and words of the 8259, the interrupt controller that lines go to. */
const PIC = { command: 0x20, data: 0x21, levels: 0x4d0 };
const PIC_INITIALIZE = 0x11;
const PIC_SLAVE_ON_PIN_2 = 0x04;
const PIC_8086_MODE = 0x01;
const PIC_END_OF_INTERRUPT = 0x20;
const PIC_READ_IN_SERVICE = 0x0b;

const word = (value: number) => [value & 0xff, (value >>> 8) & 0xff];
const long = (value: number) => [...word(value), ...word(value >>> 16)];

/** mov dword [address], value */
const store = (address: number, value: number) => [
  ...[0x67, 0x66, 0xc7, 0x05],
  ...long(address),
  ...long(value),
];
/** inc dword [address] */
const increment = (address: number) => [0x67, 0x66, 0xff, 0x05, ...long(address)];
/** mov dx, port; mov al, value; out dx, al */
const out = (port: number, value: number) => [0xba, ...word(port), 0xb0, value, 0xee];
/** in al, dx */
const IN = [0xec];
/** test al, bits */
const testByte = (bits: number) => [0xa8, bits];
/** test dword [address], bits */
const test = (address: number, bits: number) => [
  ...[0x67, 0x66, 0xf7, 0x05],
  ...long(address),
  ...long(bits),
];
/** jz past the code */
const unlessZero = (code: readonly number[]) => [0x74, code.length, ...code];
/** mov sp, address */
const stackAt = (address: number) => [0xbc, ...word(address)];
/** jmp target, of three bytes that lie at `from` */
const jump = (from: number, target: number) => [0xe9, ...word(target - (from + 3))];
/** out 0xe9, al: a port without a device. */
const LEAVE = [0xe6, 0xe9];
/** sti */
const ENABLE_INTERRUPTS = [0xfb];
/** hlt */
const SLEEP = [0xf4];
/** iret */
const RETURN = [0xcf];

const LINE_IN_SERVICE = [
  ...out(PIC.command, PIC_READ_IN_SERVICE),
  ...IN,
  ...testByte(1 << LINE_PIN),
];
const messageInService = (vector: number) =>
  test(APIC_IN_SERVICE + 0x10 * (vector >>> 5), (1 << (vector & 31)) >>> 0);

/** What a guest does between interrupts. */
export type Idle = 'leaves' | 'sleeps';

function startCode(idle: Idle): number[] {
  const code = [
    ...stackAt(STACK),
    ...store(APIC_SPURIOUS_VECTOR, APIC_ENABLED),
    ...out(PIC.command, PIC_INITIALIZE),
    ...out(PIC.data, FIRST_PIN_VECTOR),
    ...out(PIC.data, PIC_SLAVE_ON_PIN_2),
    ...out(PIC.data, PIC_8086_MODE),
    ...out(PIC.data, 0xff & ~(1 << LINE_PIN)),
    ...out(PIC.levels, 1 << LINE_PIN),
    ...ENABLE_INTERRUPTS,
  ];
  if (idle === 'sleeps') code.push(...LEAVE);
  const turn = idle === 'sleeps' ? SLEEP : LEAVE;
  const loop = START + code.length;
  return [...code, ...turn, ...jump(loop + turn.length, loop)];
}

/** Where the guest counts the interrupts of a vector, in 32 bits. */
export function counterAddress(vector: number): number {
  return COUNTERS + 4 * vector;
}

/**
 * The memory of a guest that handles the line and `messages` vectors for messages.
 * @param acknowledge where the handler of the line stores all ones before it ends the interrupt
 */
export function guestImage(messages: number, idle: Idle, acknowledge?: number): Buffer {
  const image = Buffer.alloc(GUEST_MEMORY);
  const place = (address: number, code: readonly number[]) => image.set(code, address);
  // Only what a controller has sent counts: an emulated processor now and then enters a handler twice.
  const handle = (index: number, vector: number, inService: number[], end: readonly number[]) => {
    const address = HANDLERS + index * HANDLER_SIZE;
    const count = unlessZero([...increment(counterAddress(vector)), ...end]);
    place(address, [...inService, ...count, ...LEAVE, ...RETURN]);
    // The vector table: offset and segment.
    image.writeUInt16LE(address, 4 * vector);
  };
  place(RESET, jump(RESET, START));
  place(START, startCode(idle));
  handle(0, LINE_VECTOR, LINE_IN_SERVICE, [
    ...(acknowledge === undefined ? [] : store(acknowledge, 0xffff_ffff)),
    ...out(PIC.command, PIC_END_OF_INTERRUPT),
  ]);
  for (let n = 0; n < messages; n++) {
    const vector = MESSAGE_VECTOR + n;
    handle(1 + n, vector, messageInService(vector), store(APIC_END_OF_INTERRUPT, 0));
  }
  return image;
}
