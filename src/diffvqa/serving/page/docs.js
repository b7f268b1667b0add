/** /openapi.json as a page. */

const place = document.querySelector("#routes");
const described = await (await fetch("/openapi.json")).json();

for (const [path, methods] of Object.entries(described.paths)) {
  for (const [method, route] of Object.entries(methods)) place.append(article(method, path, route));
}
for (const [name, schema] of Object.entries(described.components.schemas)) {
  if (schema.properties) place.append(schemaArticle(name, schema));
}

function article(method, path, route) {
  const form = route.requestBody?.content["multipart/form-data"].schema;
  return make("article",
    make("h2", make("b", method.toUpperCase()), ` ${path}`),
    make("p", route.summary),
    ...(form ? [make("h3", "Fields (multipart/form-data)"), properties(form)] : []),
    make("h3", "Answers"),
    rows(Object.entries(route.responses).map(([status, one]) => [status, `${one.description} ${type(one.content)}`])),
  );
}

function schemaArticle(name, schema) {
  return make("article", make("h2", `Schema: ${name}`), make("p", schema.description ?? ""), properties(schema));
}

function properties({ properties, required = [] }) {
  return rows(Object.entries(properties).map(([name, { description, enum: values, $ref }]) => [
    required.includes(name) ? `${name} *` : name,
    description ?? (values ? `One of ${values.join(", ")}.` : $ref ? `A ${$ref.split("/").at(-1)}.` : ""),
  ]));
}

function type(content = {}) {
  return Object.entries(content)
    .map(([name, { schema }]) => (schema?.$ref ? `${name}, schema ${schema.$ref.split("/").at(-1)}` : name))
    .map((text) => `(${text})`)
    .join(" ");
}

function rows(entries) {
  return make("dl", ...entries.flatMap(([name, meaning]) => [make("dt", name), make("dd", meaning)]));
}

function make(name, ...children) {
  const element = document.createElement(name);
  element.append(...children);
  return element;
}
