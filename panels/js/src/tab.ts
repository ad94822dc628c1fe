/** Who this browser tab is: the App opens the same panel, with the same state, in every tab of a dataset. */

const KEY = "label-correction-tab";

/** An id that outlives a reload and that no other open tab has, also not one that was duplicated from this one. */
export const tab: Promise<string> = own(sessionStorage.getItem(KEY) ?? fresh());

function fresh(): string {
  const words = crypto.getRandomValues(new Uint32Array(3));
  return Array.from(words, (word) => word.toString(36)).join("");
}

async function own(id: string): Promise<string> {
  while (!(await isFree(id))) id = fresh();
  sessionStorage.setItem(KEY, id);
  return id;
}

/** Takes the name until the tab is closed; pages that are not served securely cannot, and are believed. */
function isFree(id: string): Promise<boolean> {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((tell) => {
    const hold = (lock: Lock | null) => {
      tell(lock !== null);
      return lock ? new Promise<void>(() => {}) : undefined;
    };
    void navigator.locks.request(`${KEY} ${id}`, { ifAvailable: true }, hold);
  });
}
