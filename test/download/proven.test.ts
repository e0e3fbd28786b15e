import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Proven } from '../../src/download/proven.ts'

test('who was proven right is no stranger until it is banned, and the longest unseen of thousands is forgotten', () => {
  const proven = new Proven()
  proven.add('first')
  proven.add('second')
  proven.add('first')
  for (let i = 0; i < 4_095; i++) proven.add(`peer ${i}`)
  assert.equal(proven.has('second'), false)
  assert.equal(proven.has('first'), true)
  proven.delete('first')
  assert.equal(proven.has('first'), false)
})
