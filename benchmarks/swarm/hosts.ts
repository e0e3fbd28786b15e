import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { Site } from './site.ts'

/** Bytes that a queue at either end of a link may hold: 40 ms of its rate. */
const QUEUE_SECONDS = 0.04
/** More classes than this cost more than they make fair. */
const MAX_FAIR = 64
const CONGESTION = 'cubic'
const PREFIX = 'shoal'

/**
 * One switch and hosts around it, each in a network namespace of its own, every link shaped in both directions with a
 * class for each remote host (one first-in-first-out queue would let one sender take half of a link). Host 0 is the origin's.
 * Needs root and iproute2; nothing in it can leave the machine. Dispose to remove all of it.
 */
export class Hosts implements Site {
  readonly shaped = true
  readonly #mbits: readonly number[]
  readonly #prefix = `${PREFIX}${process.pid}`

  /** @param mbits each way, of the origin's link and of each other host's */
  constructor(mbits: readonly number[]) {
    this.#mbits = mbits
    removeLeftovers()
    allowCongestionControl()
    try {
      this.#build()
    } catch (error) {
      this[Symbol.dispose]()
      throw error
    }
  }

  /** Whether this user may make network namespaces here. */
  static get possible(): boolean {
    const name = `${PREFIX}${process.pid}probe`
    const made = spawnSync('ip', ['netns', 'add', name]).status === 0
    if (made) spawnSync('ip', ['netns', 'delete', name])
    return made
  }

  command(i: number, program: string, ...args: readonly string[]): readonly [string, ...string[]] {
    // exec'ed: one process, one pid
    return ['ip', 'netns', 'exec', this.#name(i), program, ...args]
  }

  address(i: number): string {
    return `10.77.0.${10 + i}`
  }

  port(wanted: number): number {
    return wanted
  }

  [Symbol.dispose](): void {
    for (const i of this.#mbits.keys()) remove(this.#name(i))
    remove(this.#switch)
  }

  get #switch(): string {
    return `${this.#prefix}sw`
  }

  #name(i: number): string {
    return `${this.#prefix}h${i}`
  }

  #build(): void {
    const all = [...this.#mbits.keys()]
    for (const name of [this.#switch, ...all.map((i) => this.#name(i))]) batch('ip', [], [`netns add ${name}`])
    batch(
      'ip',
      ['-n', this.#switch],
      ['link add br0 type bridge stp_state 0 forward_delay 0', 'link set br0 up', 'link set lo up'],
    )
    for (const [i, mbit] of this.#mbits.entries()) {
      this.#settle(i)
      const gso = `gso_max_size ${mbit < 1000 ? 16_384 : 65_536}`
      batch(
        'ip',
        ['-n', this.#switch],
        [
          `link add p${i} type veth peer name e0 netns ${this.#name(i)}`,
          `link set p${i} txqueuelen 1000 ${gso} master br0`,
          `link set p${i} up`,
        ],
      )
      batch(
        'ip',
        ['-n', this.#name(i)],
        ['link set lo up', `link set e0 txqueuelen 1000 ${gso}`, `addr add ${this.address(i)}/24 dev e0`, 'link set e0 up'],
      )
      const remote = all.filter((k) => k !== i).map((k) => this.address(k))
      batch('tc', ['-n', this.#name(i)], shape('e0', mbit, 'dst', remote))
      batch('tc', ['-n', this.#switch], shape(`p${i}`, mbit, 'src', remote))
    }
  }

  /** Settings of a namespace's own TCP. */
  #settle(i: number): void {
    const settings = { tcp_congestion_control: CONGESTION, tcp_no_metrics_save: '1', ip_local_port_range: '20000 60999' }
    const lines = Object.entries(settings).map(([key, value]) => `echo "${value}" > /proc/sys/net/ipv4/${key}`)
    const [command, ...args] = this.command(i, 'sh', '-ec', lines.join('\n'))
    execFileSync(command, args)
  }
}

/** tc lines for one direction of a link: shared evenly by the remote hosts, each of which may use all that others leave. */
function shape(device: string, mbit: number, match: 'src' | 'dst', remote: readonly string[]): string[] {
  const kbit = mbit * 1000
  const queueBytes = Math.max(30_000, Math.round(kbit * 125 * QUEUE_SECONDS))
  const burst = Math.max(32_768, Math.round(kbit * 125 * 0.002))
  if (remote.length > MAX_FAIR)
    return [`qdisc replace dev ${device} root tbf rate ${kbit}kbit burst ${burst} limit ${queueBytes + burst}`]
  const part = Math.max(1, Math.floor(kbit / (remote.length + 1)))
  const lines = [
    `qdisc replace dev ${device} root handle 1: htb default 2`,
    `class add dev ${device} parent 1: classid 1:1 htb rate ${kbit}kbit burst ${burst} cburst ${burst}`,
  ]
  for (const [k, address] of [undefined, ...remote].entries()) {
    const id = (k + 2).toString(16)
    lines.push(
      `class add dev ${device} parent 1:1 classid 1:${id} htb rate ${part}kbit ceil ${kbit}kbit burst ${burst} cburst ${burst} quantum 6056`,
    )
    lines.push(`qdisc add dev ${device} parent 1:${id} bfifo limit ${queueBytes}`)
    if (address !== undefined)
      lines.push(`filter add dev ${device} parent 1: protocol ip prio 1 u32 match ip ${match} ${address}/32 flowid 1:${id}`)
  }
  return lines
}

function batch(command: 'ip' | 'tc', args: readonly string[], lines: readonly string[]): void {
  execFileSync(command, [...args, '-batch', '-'], { input: `${lines.join('\n')}\n`, stdio: ['pipe', 'ignore', 'pipe'] })
}

/** Deletes a namespace, and ends what still runs in it: nothing but what was started there can. */
function remove(name: string): void {
  const inside = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' })
  for (const pid of inside.stdout.split('\n').filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // it ended by itself
    }
  }
  spawnSync('ip', ['netns', 'delete', name])
}

/** What a run that was killed left behind: namespaces named after a process that is no more. */
function removeLeftovers(): void {
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  for (const [, name, pid] of stdout.matchAll(new RegExp(`^(${PREFIX}(\\d+)(?:h\\d+|sw|probe))\\b`, 'gm')))
    if (name !== undefined && !existsSync(`/proc/${pid}`)) remove(name)
}

/** A namespace may choose only among the congestion controls allowed for the machine; the default, BBR, shares such shapers badly. */
function allowCongestionControl(): void {
  const path = '/proc/sys/net/ipv4/tcp_allowed_congestion_control'
  const allowed = readFileSync(path, 'utf8').trim().split(' ')
  if (!allowed.includes(CONGESTION)) writeFileSync(path, [...allowed, CONGESTION].join(' '))
}
