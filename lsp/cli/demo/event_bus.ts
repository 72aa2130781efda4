// Publish and subscribe within one page: who is interested in a topic is told of its events.

export type Handler = (payload: unknown) => void;

export interface Subscription {
  topic: string;
  handler: Handler;
  once: boolean;
}

export class EventBus {
  private subscriptions: Map<string, Subscription[]> = new Map();

  on(topic: string, handler: Handler): void {
    this.add({ topic, handler, once: false });
  }

  once(topic: string, handler: Handler): void {
    
  }

  off(topic: string, handler: Handler): void {
    const list = this.subscriptions.get(topic);
    if (list === undefined) {
      return;
    }
    const left = list.filter((subscription) => subscription.handler !== handler);
    this.subscriptions.set(topic, left);
  }

  emit(topic: string, payload: unknown): number {
    const list = this.subscriptions.get(topic);
    if (list === undefined) {
      return 0;
    }
    for (const subscription of list) {
      subscription.handler(
    }
    this.subscriptions.set(
      topic,
      list.filter((subscription) => !subscription.once),
    );
    return list.length;
  }

  private add(subscription: Subscription): void {
    const list = this.subscriptions.get(subscription.topic) ?? [];
    list.push(subscription);
    this.subscriptions.set(subscription.topic, list);
  }
}

const bus = new EventBus();
bus.on("saved", (payload) => console.log("saved", payload));
bus.emit("saved", { path: "notes.txt" });
