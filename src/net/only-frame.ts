import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from './channel.ts'

/** Reads the one frame that the other side sends before it ends its side. @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE, PEER_GONE */
export async function readOnlyFrame(channel: Channel, maxBytes: number): Promise<Uint8Array> {
  let frame: Uint8Array | undefined
  const decoder = createFrameDecoder(maxBytes, (bytes) => {
    if (frame !== undefined) throw new ShoalError('MESSAGE_MALFORMED', 'a second message where one was expected')
    // A view that is only ours during this call.
    frame = bytes.slice()
  })
  await channel.read((chunk) => decoder.push(chunk))
  if (frame === undefined) throw new ShoalError('MESSAGE_MALFORMED', 'the stream ended before its message')
  return frame
}

/** Sends the only frame of our side, and ends it. */
export async function writeOnlyFrame(channel: Channel, bytes: Uint8Array): Promise<void> {
  await channel.write([encodeFrame(bytes)])
  await channel.close()
}
