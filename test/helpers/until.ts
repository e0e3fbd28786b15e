import { setTimeout as sleep } from 'node:timers/promises'

/** Polls for what no event tells. @throws when it does not come true in time */
export async function until(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not in ${timeoutMs} ms: ${what}`)
    await sleep(10)
  }
}

/** Waits until a number has stopped changing, and gives it. */
export async function settled(value: () => number, stillMs = 150, timeoutMs = 20_000): Promise<number> {
  const deadline = Date.now() + timeoutMs
  for (let last = value(), since = Date.now(); Date.now() < deadline; ) {
    await sleep(10)
    if (value() === last) {
      if (Date.now() - since >= stillMs) return last
    } else {
      last = value()
      since = Date.now()
    }
  }
  throw new Error(`still changing after ${timeoutMs} ms`)
}
