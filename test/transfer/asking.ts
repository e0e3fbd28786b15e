import { createPieceAnswerDecoder, encodePieceRequest, type PieceHead, type PieceRequest } from '../../protocols/piece/codec.ts'
import { PIECE_PROTOCOL } from '../../protocols/piece/limits.ts'
import type { Channel } from '../../src/net/channel.ts'
import type { Host } from '../../src/net/host.ts'
import { NEVER, type TestNode } from './rig.ts'

type Cancel = Extract<PieceRequest, { type: 'cancel' }>
/** Without a claim unless it says so. */
type Request = Omit<Extract<PieceRequest, { type: 'request' }>, 'wantsClaim'> & { readonly wantsClaim?: boolean }

/** A peer that asks by hand and notes what comes. */
export class Asking {
  readonly channel: Channel
  readonly heads = new Map<number, PieceHead>()
  readonly bytes = new Map<number, Buffer[]>()
  readonly failed: number[] = []
  /** Ids in the order in which their last byte came. */
  readonly done: number[] = []
  over: unknown
  /** Awaited before each chunk is taken. */
  gate: Promise<void> | undefined

  constructor(channel: Channel) {
    this.channel = channel
    const decoder = createPieceAnswerDecoder({
      onHead: (head) => {
        this.heads.set(head.id, head)
        if (head.length === 0) this.done.push(head.id)
      },
      onData: (id, part) => {
        const parts = this.bytes.get(id) ?? []
        parts.push(Buffer.from(part))
        this.bytes.set(id, parts)
        if (this.of(id).length === this.heads.get(id)?.length) this.done.push(id)
      },
      onFail: (id) => this.failed.push(id),
    })
    channel
      .read(async (chunk) => {
        await this.gate
        decoder.push(chunk)
      })
      .then(
        () => {
          this.over = 'ended'
        },
        (error) => {
          this.over = error
        },
      )
  }

  static async open(host: Host, node: TestNode): Promise<Asking> {
    return new Asking(await host.open(node.ref, PIECE_PROTOCOL, { signal: NEVER }))
  }

  of(id: number): Buffer {
    return Buffer.concat(this.bytes.get(id) ?? [])
  }

  async ask(...requests: (Request | Cancel)[]): Promise<void> {
    const whole = requests.map((r): PieceRequest => (r.type === 'cancel' ? r : { wantsClaim: false, ...r }))
    await this.channel.write(whole.map(encodePieceRequest))
  }
}
