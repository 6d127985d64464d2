/**
 * Frames of HTTP/2: their numbers and their bytes.
 *
 * @module
 * @see RFC 9113, sections 4 and 6
 */

/** What every client sends first. RFC 9113, 3.4 */
export const preface = new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export const frameHeaderSize = 9;

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const Flag = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const;

/** RFC 9113, 7 */
export const ErrorCode = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  connect: 10,
  enhanceYourCalm: 11,
} as const;

/** RFC 9113, 6.5.2 */
export const Setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const defaultWindow = 65_535;
export const maxWindow = 0x7fff_ffff;
export const minFrameSize = 16_384;
export const maxFrameSize = 0xff_ffff;

/** A mistake of the other side that ends the connection. */
export class ConnectionError extends Error {
  override name = "ConnectionError";

  constructor(readonly code: number, message: string) {
    super(message);
  }
}

/** A mistake of the other side that ends one stream. */
export class StreamError extends Error {
  override name = "StreamError";

  constructor(readonly stream: number, readonly code: number, message: string) {
    super(message);
  }
}

/** A frame as it came. `payload` is only good until the next one is read. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** The header of a frame at `at`. The reserved bit is left out. */
export function readFrameHeader(bytes: Uint8Array, at: number) {
  return {
    length: bytes[at] << 16 | bytes[at + 1] << 8 | bytes[at + 2],
    type: bytes[at + 3],
    flags: bytes[at + 4],
    stream: uint32(bytes, at + 5) & 0x7fff_ffff,
  };
}

/** The bytes of a frame's header. */
export function frameHeader(
  length: number,
  type: number,
  flags: number,
  stream: number,
): Uint8Array {
  const bytes = new Uint8Array(frameHeaderSize);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length * 256 + type);
  view.setUint8(4, flags);
  view.setUint32(5, stream);
  return bytes;
}

/** The bytes of a frame. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(frameHeaderSize + payload.length);
  bytes.set(frameHeader(payload.length, type, flags, stream));
  bytes.set(payload, frameHeaderSize);
  return bytes;
}

export function settingsFrame(settings: readonly (readonly [number, number])[]): Uint8Array {
  const payload = new Uint8Array(settings.length * 6);
  const view = new DataView(payload.buffer);
  settings.forEach(([id, value], index) => {
    view.setUint16(index * 6, id);
    view.setUint32(index * 6 + 2, value);
  });
  return frame(FrameType.settings, 0, 0, payload);
}

export function resetFrame(stream: number, code: number): Uint8Array {
  return frame(FrameType.resetStream, 0, stream, words(code));
}

export function windowUpdateFrame(stream: number, increment: number): Uint8Array {
  return frame(FrameType.windowUpdate, 0, stream, words(increment));
}

export function goAwayFrame(lastStream: number, code: number, why: string): Uint8Array {
  const text = new TextEncoder().encode(why);
  const payload = new Uint8Array(8 + text.length);
  payload.set(words(lastStream, code));
  payload.set(text, 8);
  return frame(FrameType.goAway, 0, 0, payload);
}

/**
 * What a padded payload holds. RFC 9113, 6.1
 *
 * @throws {ConnectionError} More padding than payload.
 */
export function withoutPadding({ flags, payload }: Frame): Uint8Array {
  if ((flags & Flag.padded) === 0) return payload;
  if (payload.length === 0 || payload[0] >= payload.length) {
    throw new ConnectionError(ErrorCode.protocol, "More padding than payload");
  }
  return payload.subarray(1, payload.length - payload[0]);
}

export function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24 | bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]) >>> 0;
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => view.setUint32(index * 4, value));
  return bytes;
}
