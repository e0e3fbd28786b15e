import { ShoalError } from '../../protocols/error.ts'
import { readBody } from './body.ts'
import { codeOfStatus, messageIn } from './failure.ts'
import type { HttpAnswer } from './http.ts'

const EXCERPT_BYTES = 8 * 1024
const EXCERPT_TIMEOUT_MS = 1_000

/**
 * An answer that is not the one asked for, as an error with what the origin said; its body is gone then.
 * @param challenge what the origin asks credentials with: it makes a 403 to somebody who gave none a request for them
 */
export async function failureOf(answer: HttpAnswer, where: string, challenge?: string): Promise<ShoalError> {
  const wantsCredentials = answer.status === 403 && challenge !== undefined
  const code = wantsCredentials ? 'ORIGIN_UNAUTHORIZED' : codeOfStatus(answer.status)
  const said = await excerptOf(answer)
  return new ShoalError(code, `${where} answered with status ${answer.status}${said === '' ? '' : ` (${said})`}`, {
    detail: { status: answer.status, ...(challenge === undefined ? {} : { challenge }) },
  })
}

/** What a refusal says in words, where it does so soon and in the registries' format. */
export async function excerptOf(answer: HttpAnswer): Promise<string> {
  // docker-registry 2.8 announces the blob's length here and sends 30 bytes.
  if (answer.status === 416) {
    answer.discard()
    return ''
  }
  const timer = setTimeout(() => answer.body.destroy(), EXCERPT_TIMEOUT_MS)
  const chunks: Uint8Array[] = []
  try {
    const never = new AbortController().signal
    for await (const chunk of readBody(answer, { wantedBytes: EXCERPT_BYTES }, { signal: never })) chunks.push(chunk)
  } catch {
    // The status says enough.
  } finally {
    clearTimeout(timer)
  }
  return messageIn(Buffer.concat(chunks).toString('utf8'))
}
