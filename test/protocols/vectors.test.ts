import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { zoneTopic } from '../../protocols/beacon/codec.ts'
import * as beaconLimits from '../../protocols/beacon/limits.ts'
import { claimSigningBytes, decodeClaim } from '../../protocols/claim/codec.ts'
import * as claimLimits from '../../protocols/claim/limits.ts'
import * as evidenceLimits from '../../protocols/evidence/limits.ts'
import * as pieceLimits from '../../protocols/piece/limits.ts'
import * as swarmLimits from '../../protocols/swarm/limits.ts'
import * as tagLimits from '../../protocols/tag/limits.ts'
import { parseZone } from '../../protocols/zone.ts'
import { CODECS, type Codec, decodeAnswers } from './codecs.ts'
import { hexOf, plain } from './plain.ts'

interface Vector {
  readonly name: string
  readonly message: string
  readonly hex: string
}

interface Vectors {
  readonly protocol: string
  readonly valid: readonly (Vector & { readonly value: unknown; readonly signed?: string })[]
  readonly invalid: readonly (Vector & { readonly error: string })[]
  readonly key?: { readonly seed: string; readonly publicKey: string; readonly peerId: string }
  readonly topics?: readonly { readonly label: string; readonly topic: string }[]
}

const LIMITS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  piece: pieceLimits,
  claim: claimLimits,
  swarm: swarmLimits,
  beacon: beaconLimits,
  tag: tagLimits,
  evidence: evidenceLimits,
}
const ROOT = resolve(import.meta.dirname, '../../protocols')
const vectorsOf = (folder: string): Vectors => JSON.parse(readFileSync(`${ROOT}/${folder}/vectors.json`, 'utf8'))
const specOf = (folder: string): string => readFileSync(`${ROOT}/${folder}/SPEC.md`, 'utf8')

for (const folder of Object.keys(LIMITS)) {
  const { valid, invalid } = vectorsOf(folder)
  const codecOf = (vector: Vector) => CODECS[`${folder} ${vector.message}`] as Codec<unknown>

  for (const vector of valid) {
    test(`${folder} vector: ${vector.name}`, () => {
      const bytes = Buffer.from(vector.hex, 'hex')
      if ((vector.value as { type?: string }).type === 'data') {
        const { id, payload } = vector.value as { id: number; payload: string }
        assert.deepEqual(plain(decodeAnswers(bytes)), [{ type: 'payload', id, bytes: payload }])
        return
      }
      const decoded = codecOf(vector).decode(bytes)
      assert.deepEqual(plain(decoded), vector.value)
      assert.equal(hexOf(codecOf(vector).encode(decoded)), vector.hex)
    })
  }

  for (const vector of invalid) {
    test(`${folder} vector, refused: ${vector.name}`, () => {
      assert.throws(() => codecOf(vector).decode(Buffer.from(vector.hex, 'hex')), { code: vector.error })
    })
  }

  test(`each example in the ${folder} spec is a vector`, () => {
    const examples = [...specOf(folder).matchAll(/```hex\n(.*?)```/gs)].map(([, block]) => hexIn(block as string))
    assert.ok(examples.length >= 2)
    for (const example of examples)
      assert.ok(
        valid.some((vector) => vector.hex === example),
        `no vector has ${example}`,
      )
  })

  test(`the ${folder} spec names every limit, with its value`, () => {
    const rows = [...specOf(folder).matchAll(/^\| `([A-Z_]+)` +\| ([\d,]+) +\|/gm)]
    const told = Object.fromEntries(rows.map(([, name, value]) => [name, Number((value as string).replaceAll(',', ''))]))
    const numbers = Object.entries(LIMITS[folder] as object).filter(([, value]) => typeof value === 'number')
    assert.deepEqual(told, Object.fromEntries(numbers))
  })
}

test('the signatures of the claim vectors verify with their key', () => {
  const { valid, key } = vectorsOf('claim')
  assert.ok(key !== undefined)
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(key.seed, 'hex')])
  const publicKey = createPublicKey(createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }))
  assert.equal(Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url').toString('hex'), key.publicKey)
  for (const vector of valid) {
    const claim = decodeClaim(Buffer.from(vector.hex, 'hex'))
    assert.equal(claim.author, key.peerId)
    assert.equal(hexOf(claimSigningBytes(claim)), vector.signed)
    assert.ok(verify(null, claimSigningBytes(claim), publicKey, claim.signature))
    assert.ok(
      !verify(
        null,
        claimSigningBytes({ ...claim, kind: claim.kind === 'import' ? 'complete' : 'import' }),
        publicKey,
        claim.signature,
      ),
    )
  }
})

test('a zone has one topic, whatever the rack', () => {
  for (const { label, topic } of vectorsOf('beacon').topics ?? []) assert.equal(zoneTopic(parseZone(label)), topic)
})

/** The hex at the front of each line; the rest of a line says what it is. */
function hexIn(block: string): string {
  return block
    .split('\n')
    .map((line) => /^[0-9a-f]*/.exec(line)?.[0] ?? '')
    .join('')
}
