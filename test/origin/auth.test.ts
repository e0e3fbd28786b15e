import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { ShoalError } from '../../protocols/error.ts'
import { basic, openTokenServer, type TokenServer } from '../helpers/faulty-origin.ts'
import { collect, openRig, type Rig, withCode } from './rig.ts'

const ALICE = basic('alice', 'secret')

async function tokenServer(t: TestContext, options: Parameters<typeof openTokenServer>[0] = {}): Promise<TokenServer> {
  const server = await openTokenServer({ accounts: { alice: 'secret' }, ...options })
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

/** Everybody may see it who has a token. */
const open = (server: TokenServer) => ({ auth: { type: 'bearer', server, lets: () => true } }) as const
/** Only alice may. */
const closed = (server: TokenServer, realm?: string) =>
  ({
    auth: { type: 'bearer', server, lets: (subject: string) => subject === 'alice', ...(realm === undefined ? {} : { realm }) },
  }) as const

const statuses = (rig: Rig) => rig.registry.requests.map(({ status }) => status).join()

test('what is open to anybody is fetched as nobody, though the client gave credentials', async (t) => {
  const rig = await openRig(t)
  assert.equal((await rig.open({ start: 0 }, ALICE)).usedAuthorization, false)
  assert.deepEqual(rig.registry.authorizations, [undefined])
})

test('a token for nobody opens what anybody may see, and the client credentials stay here', async (t) => {
  const server = await tokenServer(t)
  const rig = await openRig(t, { faults: open(server) })
  const body = await rig.open({ start: 0 }, ALICE)
  assert.equal(body.usedAuthorization, false)
  assert.ok((await collect(body)).equals(rig.bytes()))
  assert.deepEqual(server.requests, [{ authorization: undefined, service: 'test', scopes: ['repository:library/app:pull'] }])
})

test('a token is asked for once, however many blobs follow, also at the same time', async (t) => {
  const server = await tokenServer(t)
  const rig = await openRig(t, { faults: open(server) })
  await Promise.all(Array.from({ length: 8 }, async () => collect(await rig.open())))
  assert.equal(server.requests.length, 1)
  const before = rig.registry.requests.length
  await collect(await rig.open())
  assert.equal(rig.registry.requests.length, before + 1)
})

test('a token that the registry no longer takes is replaced, once', async (t) => {
  const server = await tokenServer(t)
  const rig = await openRig(t, { faults: open(server) })
  await collect(await rig.open())
  server.revoke()
  await collect(await rig.open())
  assert.equal(server.requests.length, 2)
  assert.equal(statuses(rig), '401,200,401,200')
  rig.registry.faults = { auth: { type: 'bearer', server, lets: () => false } }
  await assert.rejects(rig.open(), withCode('ORIGIN_UNAUTHORIZED'))
  assert.equal(server.requests.length, 3)
})

test('a token is not used after it has expired', async (t) => {
  const server = await tokenServer(t, { expiresInS: 0 })
  const rig = await openRig(t, { faults: open(server) })
  await collect(await rig.open())
  await collect(await rig.open())
  assert.equal(server.requests.length, 2)
  assert.equal(statuses(rig), '401,200,200')
})

test('the client name and password get the token when nobody is not enough', async (t) => {
  const server = await tokenServer(t)
  const rig = await openRig(t, { faults: closed(server) })
  const body = await rig.open({ start: 0 }, ALICE)
  assert.equal(body.usedAuthorization, true)
  assert.ok((await collect(body)).equals(rig.bytes()))
  assert.deepEqual(
    server.requests.map(({ authorization }) => authorization),
    [undefined, ALICE],
  )
  assert.ok(!rig.registry.authorizations.includes(ALICE), 'the password went to the registry')
  await collect(await rig.open({ start: 0 }, ALICE))
  assert.equal(rig.registry.requests.at(-2)?.status, 200, 'a repository known as private is asked as the client at once')
})

test('credentials of one client never serve another', async (t) => {
  const server = await tokenServer(t)
  const rig = await openRig(t, { faults: closed(server) })
  await collect(await rig.open({ start: 0 }, ALICE))
  await assert.rejects(rig.open(), withCode('ORIGIN_UNAUTHORIZED'))
  await assert.rejects(rig.open({ start: 0 }, basic('mallory', 'guess')), withCode('ORIGIN_UNAUTHORIZED'))
  await assert.rejects(rig.open({ start: 0 }, basic('alice', 'guess')), withCode('ORIGIN_UNAUTHORIZED'))
})

test('a token of the client is passed on as it is', async (t) => {
  const server = await tokenServer(t)
  const rig = await openRig(t, { faults: closed(server) })
  const answer = await fetch(`${server.url}/token`, { headers: { authorization: ALICE } })
  const { token } = (await answer.json()) as { token: string }
  const body = await rig.open({ start: 0 }, `Bearer ${token}`)
  assert.equal(body.usedAuthorization, true)
  await collect(body)
  assert.deepEqual(
    server.requests.map(({ authorization }) => authorization),
    [ALICE, undefined],
  )
})

test('a token server that gives nobody a token leaves the word to the client', async (t) => {
  const server = await tokenServer(t, { anonymous: false })
  const rig = await openRig(t, { faults: closed(server) })
  assert.equal((await rig.open({ start: 0 }, ALICE)).usedAuthorization, true)
})

test('a refusal carries the challenge of the registry, so that the client can answer it', async (t) => {
  for (const anonymous of [undefined, false] as const) {
    const server = await tokenServer(t, anonymous === false ? { anonymous } : {})
    const rig = await openRig(t, { faults: closed(server) })
    for (let again = 0; again < 2; again++)
      await assert.rejects(rig.open(), (error) => {
        assert.ok(error instanceof ShoalError)
        assert.equal(error.code, 'ORIGIN_UNAUTHORIZED')
        assert.match(String(error.detail?.challenge), /^Bearer realm="http:\/\/127\.0\.0\.1:\d+\/token",service="test"/)
        return true
      })
  }
})

test('a registry that asks for a name and password gets those of the client, once nobody was refused', async (t) => {
  const rig = await openRig(t, { faults: { auth: { type: 'basic', username: 'alice', password: 'secret' } } })
  const body = await rig.open({ start: 0 }, ALICE)
  assert.equal(body.usedAuthorization, true)
  await collect(body)
  assert.deepEqual(rig.registry.authorizations, [undefined, ALICE])
  await assert.rejects(rig.open({ start: 0 }, basic('alice', 'wrong')), withCode('ORIGIN_UNAUTHORIZED'))
  await assert.rejects(rig.open(), (error) => error instanceof ShoalError && error.detail?.challenge === 'Basic realm="test"')
})

test('what a registry hides as missing is found with the client credentials, and stays missing with wrong ones', async (t) => {
  const rig = await openRig(t, { faults: { auth: { type: 'hidden', authorization: ALICE } } })
  assert.equal((await rig.open({ start: 0 }, ALICE)).usedAuthorization, true)
  await assert.rejects(rig.open({ start: 0 }, basic('alice', 'wrong')), withCode('ORIGIN_NOT_FOUND'))
  await assert.rejects(rig.open(), withCode('ORIGIN_NOT_FOUND'))
})

test('the credentials of the operator are used first, and what they open is not private to a client', async (t) => {
  const server = await tokenServer(t)
  const rig = await openRig(t, { faults: closed(server), login: 'alice:secret' })
  const body = await rig.open({ start: 0 }, basic('bob', 'other'))
  assert.equal(body.usedAuthorization, false)
  await collect(body)
  assert.deepEqual(
    server.requests.map(({ authorization }) => authorization),
    [ALICE],
  )
  const plain = await openRig(t, {
    faults: { auth: { type: 'basic', username: 'alice', password: 'secret' } },
    login: 'alice:secret',
  })
  assert.equal((await plain.open()).usedAuthorization, false)
})

test('a realm off the domain of the registry gets no credentials, but may be asked as nobody', async (t) => {
  const server = await tokenServer(t)
  const realm = `${server.url.replace('127.0.0.1', 'evil.example')}/token`
  const rig = await openRig(t, { faults: closed(server, realm), name: 'registry.example.com' })
  await assert.rejects(rig.open({ start: 0 }, ALICE), withCode('ORIGIN_PROTOCOL', /evil\.example/))
  assert.deepEqual(
    server.requests.map(({ authorization }) => authorization),
    [undefined],
  )
  const near = await openRig(t, {
    faults: closed(server, realm.replace('evil.example', 'auth.example.com')),
    name: 'registry.example.com',
  })
  assert.equal((await near.open({ start: 0 }, ALICE)).usedAuthorization, true)
  const service = await openRig(t, { faults: closed(server, realm), name: 'registry.example.com', login: 'alice:secret' })
  await assert.rejects(service.open(), withCode('ORIGIN_PROTOCOL', /evil\.example/))
})

test('a token server that fails, hangs or talks nonsense gives a clear error', async (t) => {
  const bodies = ['', 'null', '{}', '{"token":5}', '{"token":"a\\nb"}', '"x"']
  for (const body of bodies) {
    const server = await tokenServer(t, { answer: () => ({ status: 200, body }) })
    await assert.rejects((await openRig(t, { faults: open(server) })).open(), withCode('ORIGIN_PROTOCOL', /no token/), body)
  }
  const large = await tokenServer(t, { answer: () => ({ status: 200, body: ' '.repeat(2_000_000) }) })
  await assert.rejects((await openRig(t, { faults: open(large) })).open(), withCode('ORIGIN_PROTOCOL', /more than/))
  const broken = await tokenServer(t, { answer: () => ({ status: 500, body: '{"errors":[{"message":"database down"}]}' }) })
  await assert.rejects((await openRig(t, { faults: open(broken) })).open(), withCode('ORIGIN_FAILED', /database down/))
  const busy = await tokenServer(t, { answer: () => ({ status: 429, headers: { 'retry-after': '3' } }) })
  await assert.rejects((await openRig(t, { faults: open(busy) })).open(), withCode('ORIGIN_RATE_LIMITED', /3 s/))
  const mute = await tokenServer(t, { hang: true })
  const timeouts = { headerTimeoutMs: 200, connectTimeoutMs: 200 }
  await assert.rejects((await openRig(t, { faults: open(mute), timeouts })).open(), withCode('ORIGIN_TIMEOUT', /token/))
})

test('one caller going away does not take the token from the others', async (t) => {
  const server = await tokenServer(t)
  const rig = await openRig(t, { faults: open(server) })
  const leaving = new AbortController()
  const first = rig.origin.open(rig.source(), rig.layer.digest, { start: 0 }, { signal: leaving.signal })
  const second = rig.open()
  leaving.abort(new Error('left'))
  await assert.rejects(first, /left/)
  assert.ok((await collect(await second)).equals(rig.bytes()))
})
