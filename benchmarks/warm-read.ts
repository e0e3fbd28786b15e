/** (b) What a client gets of a blob that the node holds, verified on the way out, against nginx sending the same file. */
import { createWriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { COLUMNS, row } from './lib/aim.ts'
import type { Benchmark, Context } from './lib/benchmark.ts'
import { barChart } from './lib/chart.ts'
import { content } from './lib/content.ts'
import { Daemon } from './lib/daemon.ts'
import { run, Spawned } from './lib/process.ts'
import { inQuiet, type Quiet } from './lib/quiet.ts'
import type { Report } from './lib/report.ts'
import { type Spread, spreadOf } from './lib/stats.ts'
import type { Usage } from './lib/usage.ts'

const GIB = 2 ** 30

interface Server {
  readonly url: string
  readonly process: { readonly usage: Usage }
}

interface Sample {
  readonly mibPerSecond: number
  readonly firstByteMs: number
  readonly cpuPerGib: number
}

type Round = { readonly shoal: Quiet<Sample>; readonly nginx: Quiet<Sample> }

export const warmRead: Benchmark = {
  name: 'warm-read',
  about: '1 GiB that the node holds, through the mirror, against nginx serving the same file',
  run: measure,
}

async function measure({ quick, dir, signal, say }: Context): Promise<Report> {
  const bytes = quick ? GIB / 8 : GIB
  const rounds = quick ? 2 : 7
  await using stack = new AsyncDisposableStack()
  say(`adding ${bytes / 2 ** 20} MiB`)
  const daemon = stack.use(await Daemon.start({ dataDir: join(dir, 'node'), signal }))
  const digest = await daemon.add('warm', bytes)
  const nginx = stack.use(await startNginx(join(dir, 'nginx'), bytes, signal))
  const shoal = { url: daemon.blobUrl(digest), process: daemon }
  const samples: Round[] = []
  for (let i = 0; i <= rounds; i++) {
    const sample = (server: Server) => inQuiet({ say, signal }, () => read(server, bytes, signal))
    const round = { nginx: await sample(nginx), shoal: await sample(shoal) }
    say(
      `${i === 0 ? 'warm-up' : `round ${i} of ${rounds}`}: shoal ${round.shoal.result.mibPerSecond.toFixed(0)}, nginx ${round.nginx.result.mibPerSecond.toFixed(0)} MiB/s`,
    )
    if (i > 0) samples.push(round)
  }
  return report(bytes, samples)
}

/** curl, to nowhere. */
async function read({ url, process }: Server, bytes: number, signal: AbortSignal): Promise<Sample> {
  const before = process.usage.cpuSeconds
  const format = '%{http_code} %{size_download} %{time_total} %{time_starttransfer}'
  const printed = await run('curl', ['--silent', '--show-error', '--output', '/dev/null', '--write-out', format, url], signal)
  const [code, size, total, start] = printed.split(' ').map(Number) as [number, number, number, number]
  if (code !== 200 || size !== bytes) throw new Error(`${url}: ${printed}`)
  const cpuPerGib = ((process.usage.cpuSeconds - before) * GIB) / bytes
  return { mibPerSecond: bytes / 2 ** 20 / total, firstByteMs: start * 1_000, cpuPerGib }
}

async function startNginx(dir: string, bytes: number, signal: AbortSignal): Promise<Server & AsyncDisposable> {
  await mkdir(dir)
  await pipeline(Readable.from(content('warm', bytes), { objectMode: false }), createWriteStream(join(dir, 'blob')))
  const port = await freePort()
  await writeFile(join(dir, 'nginx.conf'), nginxConfig(port))
  const process = new Spawned({ command: 'nginx', args: ['-p', `${dir}/`, '-c', 'nginx.conf', '-e', 'stderr'], signal })
  const url = `http://127.0.0.1:${port}/blob`
  const answers = async () => {
    while (!(await fetch(url, { method: 'HEAD' }).catch(() => undefined))?.ok) await delay(20, undefined, { signal })
  }
  try {
    await process.while(answers())
  } catch (cause) {
    await process[Symbol.asyncDispose]()
    throw new Error("nginx is needed for this comparison: Debian's package nginx-light has it", { cause })
  }
  return { url, process, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() }
}

/** As Debian ships it where it matters: sendfile. One process, so that its CPU time is all there is. */
function nginxConfig(port: number): string {
  return `daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server { listen 127.0.0.1:${port}; root .; }
}
`
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

function report(bytes: number, rounds: readonly Round[]): Report {
  const over = (value: (round: Round) => number): Spread => spreadOf(rounds.map(value))
  const mib = bytes / 2 ** 20
  const shoal = over((r) => r.shoal.result.mibPerSecond)
  const nginx = over((r) => r.nginx.result.mibPerSecond)
  const rows = [
    { what: 'shoal ÷ nginx', unit: '', values: over((r) => r.shoal.result.mibPerSecond / r.nginx.result.mibPerSecond) },
    { what: 'shoal, every piece verified', unit: 'MiB/s', values: shoal, digits: 0 },
    { what: 'nginx, sendfile', unit: 'MiB/s', values: nginx, digits: 0 },
    { what: "shoal: the daemon's CPU", unit: 's/GiB', values: over((r) => r.shoal.result.cpuPerGib) },
    { what: "nginx: its process's CPU", unit: 's/GiB', values: over((r) => r.nginx.result.cpuPerGib) },
    { what: 'shoal: time to first byte', unit: 'ms', values: over((r) => r.shoal.result.firstByteMs), digits: 1 },
    { what: 'nginx: time to first byte', unit: 'ms', values: over((r) => r.nginx.result.firstByteMs), digits: 1 },
  ]
  return {
    name: 'warm-read',
    title: `${mib} MiB that the node holds, to curl (${rounds.length} interleaved rounds)`,
    columns: COLUMNS,
    rows: rows.map(row),
    figures: { bytes, rounds },
    charts: {
      'warm-read': barChart({
        title: `${mib} MiB from disk cache to curl`,
        yName: 'MiB/s',
        categories: ['shoal, every piece verified', 'nginx, sendfile'],
        series: [
          { name: 'median', values: [shoal.median, nginx.median] },
          { name: 'slowest', values: [shoal.min, nginx.min] },
          { name: 'fastest', values: [shoal.max, nginx.max] },
        ],
      }),
    },
  }
}
