/**
 * A daemon that lies. It runs as any other, and its store changes what comes in from the origin before it is hashed: so it signs
 * statements about wrong bytes that agree with the wrong bytes it serves. It never finds out, whatever the digest says.
 * `node … liar.ts daemon …`, with the flags of `shoal`.
 */
import { DiskWriter } from '../../src/store/disk-writer.ts'

const { put } = DiskWriter.prototype

DiskWriter.prototype.put = function (index, bytes, expected) {
  // a blob of one piece is checked against its digest at once: no lie about it lives
  const lie = expected === undefined && this.geometry.pieces > 1
  if (lie) bytes[0] = (bytes[0] as number) ^ 1
  return put.call(this, index, bytes, expected)
}

DiskWriter.prototype.commit = () => new Promise(() => {})

const { runAsProgram } = await import('../../src/cli/main.ts')
runAsProgram()
