/** What is asked of the server; what it refuses comes as an Error with its reason. */

export async function health() {
  return (await request("/health")).json();
}

export async function examples() {
  return (await request("/examples")).json();
}

/** The two files of a synthetic pair: {prior, current}. */
export async function exampleFiles(name) {
  const file = async (image) => [image, await (await request(`/examples/${name}/${image}.png`)).blob()];
  return Object.fromEntries(await Promise.all(["prior", "current"].map(file)));
}

/** The picture in a file as PNG, upright, and in words how the file holds it. */
export async function picture(file) {
  // The name of the file stays here: it may name a patient.
  const response = await post("/picture", [["image", file, "image"]]);
  const stored = (response.headers.get("Diffvqa-Stored") ?? "").split(" ");
  return { blob: await response.blob(), stored: new Set(stored) };
}

/** files: {current, prior?}; fields: texts by name. */
export async function ask(files, fields) {
  const parts = Object.entries(files).map(([name, file]) => [name, file, name]);
  return (await post("/answer", [...parts, ...Object.entries(fields)])).json();
}

function post(path, parts) {
  const body = new FormData();
  for (const part of parts) body.append(...part);
  return request(path, { method: "POST", body });
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Error(said.detail ?? `The server refused (${response.status}).`);
}
