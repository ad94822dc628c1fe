const PATIENCE = 20_000; // milliseconds: a server that is gone never answers

type Send = () => Promise<void>;

/** Sends one message after the other, since what is asked next may depend on the answer. */
export function makeLine() {
  const waiting: Send[] = [];
  let busy = false;

  /** Sends when everything before has been answered. */
  async function later(send: Send): Promise<void> {
    waiting.push(send);
    if (busy) return;
    busy = true;
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      await new Promise<void>((done) => {
        const late = setTimeout(done, PATIENCE);
        const over = () => (clearTimeout(late), done());
        next!().then(over, over);
      });
    }
    busy = false;
  }

  /** Sends at once, or not at all while another message is under way: an answer is to what was seen. */
  const now = (send: Send): Promise<void> => (busy ? Promise.resolve() : later(send));

  return { now, later };
}
