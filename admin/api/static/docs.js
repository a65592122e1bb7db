// Shows openapi.json: every call with its parameters, body and answers. Text goes in as text, never as markup.
"use strict";

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(...children);
  return made;
}

function schemaOf(content, schemas) {
  const schema = Object.values(content ?? {})[0]?.schema ?? {};
  const name = schema.$ref?.split("/").pop();
  return name ? { [name]: schemas[name] } : schema;
}

function shape(title, content, schemas) {
  const text = JSON.stringify(schemaOf(content, schemas), null, 2);
  return [element("h4", { textContent: title }), element("pre", { textContent: text })];
}

function table(rows) {
  return element("table", {}, ...rows.map((row) => element("tr", {}, ...row.map((text) => element("td", { textContent: text })))));
}

function call(method, path, operation, schemas) {
  const head = element("summary", {},
    element("span", { className: "method", textContent: method.toUpperCase() }),
    element("code", { textContent: path }), ` ${operation.summary}`);
  const parts = [element("p", { textContent: operation.description })];
  if (operation.parameters.length) {
    parts.push(element("h4", { textContent: "Parameters" }),
      table(operation.parameters.map((each) => [each.name, each.in, each.description ?? ""])));
  }
  if (operation.requestBody) parts.push(...shape("Body", operation.requestBody.content, schemas));
  parts.push(element("h4", { textContent: "Answers" }),
    table(Object.entries(operation.responses).map(([status, answer]) => [status, answer.description])));
  const done = operation.responses["200"];
  if (done) parts.push(...shape("200", done.content, schemas));
  return element("details", {}, head, ...parts);
}

async function show() {
  const about = document.getElementById("about");
  const answer = await fetch("/openapi.json");
  if (!answer.ok) {
    about.textContent = `openapi.json: ${answer.status}`;
    return;
  }
  const api = await answer.json();
  about.replaceChildren(`Version ${api.info.version}. Errors are problem+json. Machine-readable: `,
    element("a", { href: "/openapi.json", textContent: "openapi.json" }));
  const calls = document.getElementById("calls");
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      calls.append(call(method, path, operation, api.components.schemas));
    }
  }
}

show();
