/** Waits for it. @throws the signal's reason */
export async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<void>()
  const onAbort = () => aborted.resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await Promise.race([promise, aborted.promise])
  signal.removeEventListener('abort', onAbort)
  signal.throwIfAborted()
}
