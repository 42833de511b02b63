/**
 * Questions to the endpoint. The key lies in sessionStorage: it ends with the tab, other tabs and other sites do not
 * see it, and unlike a cookie it goes nowhere by itself. No script but this page's own can run here to read it.
 */

const KEY = "demandcast.key";
const LONGEST_WAIT_SECONDS = 60;
const ATTEMPTS = 4;

/** What the endpoint refused, or why it could not be asked. */
export class Problem extends Error {
  /**
   * @param {number} status of HTTP; 0 where there was no answer.
   * @param {string} detail
   */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** @returns {string} the key, or nothing. */
export function key() {
  return sessionStorage.getItem(KEY) ?? "";
}

/** @param {string} text the key; nothing forgets it. */
export function useKey(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

/**
 * The answer to a question. Asks again where the endpoint is busy (429, 503), when it says.
 * @param {string} path below the endpoint's address, such as "v1/model".
 * @param {any} [body] with it a POST.
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 * @throws {Problem}
 */
export async function ask(path, body, signal) {
  for (let attempt = 1; ; attempt++) {
    const answer = await sent(path, body, signal);
    if (answer.ok) return answer.json();
    const seconds = Number(answer.headers.get("Retry-After"));
    if (attempt === ATTEMPTS || !seconds || seconds > LONGEST_WAIT_SECONDS) throw await problemOf(answer);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    signal?.throwIfAborted();
  }
}

async function sent(path, body, signal) {
  const headers = { Accept: "application/json" };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  const content = body === undefined ? undefined : JSON.stringify(body);
  try {
    return await fetch(`../${path}`, { method: content ? "POST" : "GET", headers, body: content, signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, String(error.message));
  }
}

async function problemOf(answer) {
  try {
    return new Problem(answer.status, String((await answer.json()).detail));
  } catch {
    return new Problem(answer.status, answer.statusText);
  }
}

/**
 * The results of many questions, some at a time, in their order.
 * @template T, R
 * @param {T[]} all
 * @param {(each: T) => Promise<R>} question
 * @returns {Promise<R[]>}
 */
export async function eachOf(all, question) {
  const results = new Array(all.length);
  let next = 0;
  const worker = async () => {
    while (next < all.length) {
      const place = next++;
      results[place] = await question(all[place]);
    }
  };
  await Promise.all(Array.from({ length: 6 }, worker));
  return results;
}

let catalogue = null;
let catalogueOf = "";

/**
 * The items of the model, by id; asked for once for each.
 * @param {string} [model] that answered, NAME@VERSION.
 * @returns {Promise<Map<string, {item_id: string, name: string, category: string | null, department: string | null}>>}
 */
export async function items(model = catalogueOf) {
  if (!catalogue || model !== catalogueOf) {
    const { items: found } = await ask("v1/items");
    catalogue = new Map(found.map((each) => [each.item_id, each]));
    catalogueOf = model;
  }
  return catalogue;
}
