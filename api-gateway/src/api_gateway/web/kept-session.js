/** What a tab stores to resume its live session after a reload. */

const KEY = "parlando.live";

export const keptSession = {
  read: () => JSON.parse(sessionStorage.getItem(KEY) ?? "null"),
  write: (kept) => sessionStorage.setItem(KEY, JSON.stringify(kept)),
  remove: () => sessionStorage.removeItem(KEY),
};
