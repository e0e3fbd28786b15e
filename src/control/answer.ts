import type { ServerResponse } from 'node:http'
import type { VerifiedChunk } from '../download/download.ts'
import { describeError, ShoalError, statusOf } from '../errors.ts'

export function answerJson(res: ServerResponse, status: number, value: unknown): void {
  answerText(res, status, 'application/json', `${JSON.stringify(value)}\n`)
}

export function answerText(res: ServerResponse, status: number, contentType: string, text: string): void {
  const body = Buffer.from(text)
  res.writeHead(status, { 'content-type': contentType, 'content-length': body.length, 'cache-control': 'no-store' })
  res.end(res.req.method === 'HEAD' ? undefined : body)
}

/** Says what went wrong; once the headers are out the connection is cut, so that nobody takes a part for the whole. */
export function answerError(res: ServerResponse, error: unknown, status?: number): void {
  if (res.headersSent) {
    res.destroy()
    return
  }
  for (const name of res.getHeaderNames()) res.removeHeader(name)
  const ours = error instanceof ShoalError ? error : undefined
  if (ours?.code === 'CONTROL_UNAUTHORIZED') res.setHeader('www-authenticate', 'Bearer realm="shoal"')
  const { challenge, retryAfterMs, size } = ours?.detail ?? {}
  if (ours?.code === 'ORIGIN_UNAUTHORIZED' && typeof challenge === 'string') res.setHeader('www-authenticate', challenge)
  if (typeof retryAfterMs === 'number') res.setHeader('retry-after', Math.max(1, Math.ceil(retryAfterMs / 1000)))
  if (ours?.code === 'RANGE_INVALID' && typeof size === 'number') res.setHeader('content-range', `bytes */${size}`)
  answerJson(res, status ?? statusOf(ours?.code), { error: describeError(error) })
}

/** Writes chunks as fast as the client reads: one is on its way while the next is fetched, and no more. */
export async function sendChunks(
  res: ServerResponse,
  chunks: AsyncIterable<VerifiedChunk>,
  options: { onSent: (bytes: number) => void },
): Promise<void> {
  let previous: Promise<void> | undefined
  for await (const chunk of chunks) {
    const sent = previous
    previous = undefined
    try {
      await sent
    } catch (error) {
      chunk.release()
      throw error
    }
    const length = chunk.bytes.length
    previous = send(res, chunk).then(() => options.onSent(length))
    // looked at on the next turn, or never if the source fails first
    previous.catch(() => {})
  }
  await previous
  res.end()
}

/** Writes and waits until the client has room for more. @throws when the connection is gone */
export async function writeLine(res: ServerResponse, line: string): Promise<void> {
  await send(res, { bytes: Buffer.from(line), release() {} })
}

/** The bytes belong to the socket until it says so, or is gone: for a request that waited its turn it never says so. */
function send(res: ServerResponse, chunk: VerifiedChunk): Promise<void> {
  return new Promise((resolve, reject) => {
    let open = true
    const end = (error?: Error | null): void => {
      if (!open) return
      open = false
      res.off('close', gone)
      chunk.release()
      if (error == null) resolve()
      else reject(error)
    }
    const gone = (): void => end(new Error('the connection is gone'))
    res.on('close', gone)
    if (res.destroyed) return gone()
    res.write(chunk.bytes, end)
  })
}
