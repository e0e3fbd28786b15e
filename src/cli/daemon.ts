import { readFile } from 'node:fs/promises'
import { type Config, readConfig } from '../config.ts'
import type { Daemon } from '../daemon.ts'
import { codeOf, ShoalError } from '../errors.ts'
import { createLog, type Log } from '../telemetry/log.ts'
import { VERSION } from '../version.ts'
import { readToken } from './session.ts'
import { onStop, type StopSignal } from './stop.ts'

export interface DaemonFlags {
  readonly configFile: string | undefined
  readonly json: boolean
  readonly flags: Readonly<Record<string, string | readonly string[] | undefined>>
}

/** What a supervisor waits for is 5 s: a part that hangs must not make it kill us. */
const CLOSE_MS = 4_500

/** Runs a node until SIGTERM or SIGINT. Resolves when it is closed. @throws ShoalError as readConfig and openDaemon */
export async function runDaemon({ configFile, json, flags }: DaemonFlags): Promise<void> {
  const { promise: stop, resolve } = Promise.withResolvers<StopSignal>()
  onStop(resolve)
  const config = await loadConfig(configFile, flags)
  const log = createLog(config.logLevel)
  lastWords(log)
  const token = config.controlTokenFile === undefined ? undefined : await readToken(config.controlTokenFile)
  // loaded late: a wrong flag is told of before libp2p is read, and the other verbs never read it
  const { openDaemon } = await import('../daemon.ts')
  const daemon = await openDaemon(config, { log, token })
  const status = await daemon.status()
  process.stdout.write(json ? `${JSON.stringify(status)}\n` : await greeting(daemon, config))
  const signal = await stop
  log.info({ signal }, 'stopping')
  await closeInTime(daemon, log)
}

async function loadConfig(name: string | undefined, flags: DaemonFlags['flags']): Promise<Config> {
  const text =
    name === undefined
      ? undefined
      : await readFile(name, 'utf8').catch((cause: NodeJS.ErrnoException) => {
          throw new ShoalError('CONFIG_INVALID', `--config: can't read ${name} (${cause.code})`, { cause })
        })
  const file = name === undefined || text === undefined ? undefined : { name, text }
  return readConfig({ flags, env: process.env, file, isRoot: process.getuid?.() === 0 })
}

/** An error that nobody expected ends the daemon, with one line that says so. */
function lastWords(log: Log): void {
  process.on('uncaughtException', (err) => {
    log.error({ err, code: codeOf(err) }, 'unexpected error: the daemon ends')
    process.exit(1)
  })
}

async function closeInTime(daemon: Daemon, log: Log): Promise<void> {
  const late = setTimeout(() => {
    log.error('did not close in time: the daemon ends')
    process.exit(1)
  }, CLOSE_MS)
  await daemon.close()
  clearTimeout(late)
}

/** What it listens on, and how to pull through it. */
async function greeting(daemon: Daemon, config: Config): Promise<string> {
  const { peerId, addresses, zone, mirror, control } = await daemon.status()
  const lines = [`shoal ${VERSION}  zone ${zone}  data ${config.dataDir}`, `  peer     ${addresses[0] ?? peerId}`]
  for (const address of addresses.slice(1)) lines.push(`           ${address}`)
  if (mirror !== undefined) lines.push(`  mirror   http://${mirror}`)
  if (control !== undefined) lines.push(`  control  http://${control}`)
  if (mirror !== undefined) {
    lines.push(
      '',
      'Pull through it:',
      `  skopeo copy --src-tls-verify=false docker://${mirror}/docker.io/library/alpine:latest oci:alpine:latest`,
      `  podman pull --tls-verify=false ${mirror}/docker.io/library/alpine:latest`,
      `  containerd: [host."http://${mirror}"] with capabilities = ["pull", "resolve"] in /etc/containerd/certs.d/_default/hosts.toml`,
    )
  }
  return `${lines.join('\n')}\n`
}
