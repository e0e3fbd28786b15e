import type { Topics } from './host.ts'
import type { MemoryWorld, Subscription } from './memory.ts'

/** Every host of the network that subscribed and can be reached gets each message, connected or not. */
export function createMemoryTopics(world: MemoryWorld, self: string, subscriptions: Map<string, Subscription>): Topics {
  return {
    subscribe: (topic, validate, onMessage) => {
      subscriptions.set(topic, { validate, deliver: onMessage })
    },
    publish: async (topic, data) => {
      const message = { author: self, data: data.slice() }
      for (const [peerId, host] of world.hosts) {
        if (peerId === self || !world.reachable(self, peerId)) continue
        queueMicrotask(() => {
          const subscription = host.subscriptions.get(topic)
          if (subscription?.validate(message) === 'accept') subscription.deliver(message)
        })
      }
    },
  }
}
