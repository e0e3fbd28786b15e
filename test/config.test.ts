import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CONFIG_KEYS, type ConfigSources, DEFAULTS, keyName, readConfig, variableName } from '../src/config.ts'
import { type ErrorCode, ShoalError } from '../src/errors.ts'

const file = (text: string) => ({ name: 'shoal.yaml', text })

function refuses(sources: ConfigSources, code: ErrorCode, ...parts: string[]): void {
  assert.throws(
    () => readConfig(sources),
    (error) => {
      assert.ok(error instanceof ShoalError)
      assert.equal(error.code, code, error.message)
      for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" should say "${part}"`)
      return true
    },
  )
}

test('with nothing given, every key has its default', () => {
  const config = readConfig({ env: { HOME: '/home/ada' } })
  assert.deepEqual(config, { ...DEFAULTS, dataDir: '/home/ada/.local/share/shoal' })
  assert.deepEqual(Object.keys(config).sort(), [...CONFIG_KEYS].sort())
  assert.equal(readConfig({ env: { HOME: '/h', XDG_DATA_HOME: '/x' } }).dataDir, '/x/shoal')
  assert.equal(readConfig({ env: { HOME: '/root' }, isRoot: true }).dataDir, '/var/lib/shoal')
})

test('a flag wins over the environment, the environment over the file, the file over the default', () => {
  const given = {
    file: file('zone: a/file\nlog-level: debug\ndefault-upstream: quay.io'),
    env: { SHOAL_ZONE: 'a/env', SHOAL_LOG_LEVEL: 'warn' },
  }
  const config = readConfig({ ...given, flags: { zone: 'a/flag' } })
  assert.deepEqual(config.zone, { region: 'a', zone: 'flag', rack: undefined })
  assert.equal(config.logLevel, 'warn')
  assert.equal(config.defaultUpstream, 'quay.io')
  assert.equal(config.stream, 'pieces')
})

test('every key can be given as a flag, a variable and a line of the file, to the same effect', () => {
  const values: Record<string, string> = {
    dataDir: '/data',
    mirror: '0.0.0.0:0',
    control: '[::1]:7',
    listen: '/ip4/127.0.0.1/tcp/0',
    announce: '/dns4/host.example/tcp/7402',
    bootstrap: '/ip4/10.0.0.1/tcp/7402/p2p/12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo',
    zone: 'eu/dc1/r3',
    upstream: 'docker.io=http://127.0.0.1:5000',
    defaultUpstream: 'ghcr.io',
    logLevel: 'error',
    controlTokenFile: '/token',
    shared: 'on',
    dht: 'off',
    gossip: 'off',
    stream: 'whole',
    uploadRate: '100MiB/s',
    downloadRate: '50Mbit/s',
    originRequests: 'docker.io=4',
    originRate: '20MB/s',
    tags: 'registry',
  }
  assert.deepEqual(Object.keys(values).sort(), [...CONFIG_KEYS].sort())
  const expected = readConfig({ flags: values })
  const env = Object.fromEntries(Object.entries(values).map(([key, value]) => [variableName(key), value]))
  const lines = Object.entries(values).map(([key, value]) => `${keyName(key)}: ${JSON.stringify(value)}`)
  assert.deepEqual(readConfig({ env }), expected)
  assert.deepEqual(readConfig({ file: file(lines.join('\n')) }), expected)
  assert.deepEqual(expected.control, { host: '::1', port: 7 })
  assert.deepEqual([expected.shared, expected.dht, expected.gossip], [true, false, false])
  assert.equal(expected.upstream.get('docker.io')?.href, 'http://127.0.0.1:5000/')
  assert.deepEqual([expected.uploadRate, expected.downloadRate], [104_857_600, 6_250_000])
})

test('lists are repeated flags, commas in a variable, and lists or a mapping in the file', () => {
  const two = ['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/2']
  assert.deepEqual(readConfig({ flags: { listen: two } }).listen, two)
  assert.deepEqual(readConfig({ env: { SHOAL_LISTEN: two.join(', ') } }).listen, two)
  assert.deepEqual(readConfig({ file: file(`listen: ${JSON.stringify(two)}`) }).listen, two)
  assert.deepEqual(readConfig({ file: file('listen: []') }).listen, [])
  const urls = readConfig({ file: file('upstream:\n  a.example: https://b.example/x\n  c:5000: http://d') }).upstream
  assert.deepEqual(
    [...urls].map(([name, url]) => `${name} ${url}`),
    ['a.example https://b.example/x', 'c:5000 http://d/'],
  )
})

test('limits of origins are lists or a mapping, by name or for all others', () => {
  const expected = {
    requests: [
      ['docker.io', 4],
      ['*', 16],
    ],
    rate: [
      ['quay.io', 20_000_000],
      ['*', undefined],
    ],
  }
  const texts = {
    originRequests: ['docker.io=4', '16'],
    originRate: ['Quay.IO=20MB/s', 'off'],
  }
  const given = [
    readConfig({ flags: texts }),
    readConfig({ env: { SHOAL_ORIGIN_REQUESTS: 'docker.io=4, *=16', SHOAL_ORIGIN_RATE: 'quay.io=20MB/s,off' } }),
    readConfig({ file: file('origin-requests: {docker.io: 4, "*": 16}\norigin-rate:\n  quay.io: 20MB/s\n  "*": off') }),
  ]
  for (const { originRequests, originRate } of given) {
    assert.deepEqual([...originRequests], expected.requests)
    assert.deepEqual([...originRate], expected.rate)
  }
  assert.deepEqual([...readConfig({ file: file('origin-requests: 3') }).originRequests], [['*', 3]])
})

test('a listener can be off', () => {
  const config = readConfig({ flags: { mirror: 'off', control: 'off' } })
  assert.equal(config.mirror, undefined)
  assert.equal(config.control, undefined)
})

test('unknown keys are refused by name, with a guess where one is near', () => {
  refuses({ file: file('data_dir: /x') }, 'CONFIG_INVALID', 'shoal.yaml', '"data_dir"', 'did you mean "data-dir"')
  refuses({ file: file('bootstap: []') }, 'CONFIG_INVALID', 'did you mean "bootstrap"')
  refuses({ file: file('colour: red') }, 'CONFIG_INVALID', '"colour"', 'known are data-dir, mirror')
  refuses({ env: { SHOAL_BOOTSTRAPS: '/x' } }, 'CONFIG_INVALID', '"SHOAL_BOOTSTRAPS"', 'did you mean "SHOAL_BOOTSTRAP"')
  refuses({ flags: { nope: '1' } }, 'CONFIG_INVALID', '--nope')
})

test("a cluster's own variables for a service called shoal are not taken for keys", () => {
  const env = {
    SHOAL_SERVICE_HOST: '10.0.0.1',
    SHOAL_PORT: 'tcp://10.0.0.1:7400',
    SHOAL_PORT_7400_TCP_ADDR: '10.0.0.1',
    SHOAL_CONFIG: '/c',
    SHOAL_ZONE: '',
  }
  assert.deepEqual(readConfig({ env }).zone, DEFAULTS.zone)
})

test('a wrong value is refused with where it stands, what it was, and what is expected', () => {
  refuses({ flags: { zone: 'onlyone' } }, 'ZONE_INVALID', '--zone', '"onlyone"', 'region/zone')
  refuses({ flags: { mirror: '7400' } }, 'ADDRESS_INVALID', '--mirror', '"7400"', 'HOST:PORT')
  refuses({ env: { SHOAL_CONTROL: 'localhost:99999' } }, 'ADDRESS_INVALID', 'SHOAL_CONTROL', '"localhost:99999"')
  refuses({ file: file('mirror: 7400') }, 'CONFIG_INVALID', 'shoal.yaml: mirror', '7400', 'HOST:PORT')
  refuses(
    { flags: { listen: ['/ip4/127.0.0.1/tcp/1', '127.0.0.1:7402'] } },
    'ADDRESS_INVALID',
    '--listen',
    '"127.0.0.1:7402"',
    'MULTIADDR',
  )
  refuses({ flags: { bootstrap: '/ip4/999.0.0.1/tcp/1' } }, 'ADDRESS_INVALID', '--bootstrap')
  refuses({ flags: { upstream: 'docker.io' } }, 'CONFIG_INVALID', '--upstream', 'NAME=URL')
  refuses({ flags: { upstream: 'docker.io=ftp://x' } }, 'CONFIG_INVALID', 'http or https')
  refuses({ env: { SHOAL_LOG_LEVEL: 'loud' } }, 'CONFIG_INVALID', 'SHOAL_LOG_LEVEL', '"loud"', 'trace, debug, info')
  refuses({ file: file('dht: maybe') }, 'CONFIG_INVALID', 'shoal.yaml: dht', '"maybe"', 'on, off')
  refuses({ file: file('zone: [a, b]') }, 'CONFIG_INVALID', 'shoal.yaml: zone')
  refuses({ file: file('listen: 7') }, 'CONFIG_INVALID', 'shoal.yaml: listen')
  refuses({ file: file('just text') }, 'CONFIG_INVALID', 'shoal.yaml', 'keys and values')
  refuses({ file: file('a: [') }, 'CONFIG_INVALID', 'shoal.yaml', 'not YAML')
  refuses({ flags: { dataDir: ' ' } }, 'CONFIG_INVALID', '--data-dir')
  refuses({ flags: { uploadRate: '100' } }, 'CONFIG_INVALID', '--upload-rate', '"100"', '100MiB/s', 'expected RATE')
  refuses({ env: { SHOAL_DOWNLOAD_RATE: '1kB/s' } }, 'CONFIG_INVALID', 'SHOAL_DOWNLOAD_RATE', 'less than 10kB/s')
  refuses({ file: file('upload-rate: 7') }, 'CONFIG_INVALID', 'shoal.yaml: upload-rate', '7')
  refuses({ flags: { originRequests: ['4', 'docker.io=0'] } }, 'CONFIG_INVALID', '"docker.io=0"', 'N is from 1 to 256')
  refuses({ flags: { originRate: 'a/b=1MB/s' } }, 'CONFIG_INVALID', '--origin-rate', '"a/b=1MB/s"', 'not the name')
  refuses({ flags: { originRate: 'docker.io=fast' } }, 'CONFIG_INVALID', '"docker.io=fast"', '[NAME=]RATE')
  refuses({ flags: { tags: 'peers' } }, 'CONFIG_INVALID', '--tags', 'zone, registry')
})

test('a password in a refused URL is not repeated', () => {
  assert.throws(
    () => readConfig({ env: { SHOAL_UPSTREAM: 'docker.io=https://ada:secret@host/' } }),
    (error: ShoalError) => error.message.includes('credentials') && !error.message.includes('secret'),
  )
})

test('a control listener that others can reach is refused without a token', () => {
  refuses({ flags: { control: '0.0.0.0:7401' } }, 'CONFIG_INVALID', '--control', '"0.0.0.0"', '--control-token-file')
  refuses({ env: { SHOAL_CONTROL: '[::]:7401' } }, 'CONFIG_INVALID', 'SHOAL_CONTROL')
  assert.equal(readConfig({ flags: { control: '0.0.0.0:7401', controlTokenFile: '/t' } }).control?.host, '0.0.0.0')
  for (const control of ['127.8.9.1:1', 'localhost:1', '[::1]:1'])
    assert.equal(readConfig({ flags: { control } }).control?.port, 1)
})

test('what was read and the defaults can not be changed', () => {
  const config = readConfig({ flags: { listen: '/ip4/127.0.0.1/tcp/1' } })
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.listen) && Object.isFrozen(DEFAULTS))
})
