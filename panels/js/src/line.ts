const PATIENCE = 20_000; // milliseconds: a server that is gone never answers

type Send = () => Promise<void>;
type Message = { send: Send; isQuiet: boolean };

/** Sends one message after the other, since what is asked next may depend on the answer. */
export function makeLine() {
  const waiting: Message[] = [];
  let sent: Message | undefined;

  async function put(message: Message): Promise<void> {
    waiting.push(message);
    if (sent) return;
    while ((sent = waiting.shift())) {
      const { send } = sent;
      await new Promise<void>((done) => {
        const late = setTimeout(done, PATIENCE);
        const over = () => (clearTimeout(late), done());
        send().then(over, over);
      });
    }
  }

  /** Sends when everything before has been answered. */
  const later = (send: Send): Promise<void> => put({ send, isQuiet: false });

  /** The same for what changes nothing that is seen. */
  const quietly = (send: Send): Promise<void> => put({ send, isQuiet: true });

  /** Sends an answer, or not at all while what is seen may change: an answer is to what was seen. */
  const now = (send: Send): Promise<void> =>
    [sent, ...waiting].every((one) => !one || one.isQuiet) ? later(send) : Promise.resolve();

  return { now, later, quietly };
}
