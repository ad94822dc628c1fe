/** Finding a class by typing. */

/** The names that hold what was typed: first those that begin with it, then words that do, then the rest. */
export function matching(names: readonly string[], typed: string): string[] {
  const text = typed.trim().toLowerCase();
  const rank = (name: string) => {
    const place = name.toLowerCase().indexOf(text);
    if (place <= 0) return place;
    return /[\s_-]/.test(name[place - 1]!) ? 1 : 2;
  };
  return names
    .map((name) => ({ name, rank: rank(name) }))
    .filter((entry) => entry.rank >= 0)
    .sort((one, other) => one.rank - other.rank)
    .map((entry) => entry.name);
}
