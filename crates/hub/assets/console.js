// What is nicer with a script: copy buttons, deployments that fit the cloud, a menu that opens where its button is, and
// pages that do not renew themselves under someone's hands. Nothing here is needed to get anything done.
"use strict";

function copyButton(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy small";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const text = block.querySelector("code").textContent.trimEnd();
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(block.querySelector("code"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.append(button);
}

// The rule of a field, told while one types and no later than the hub would say it.
function tellRule(input) {
  const rule = new RegExp(input.dataset.rule, "v");
  const field = input.closest(".field");
  let told = field.querySelector(".error");
  if (!told) {
    told = document.createElement("p");
    told.className = "error";
    told.id = `e-${input.name}`;
    input.after(told);
    input.setAttribute("aria-describedby", `${told.id} ${input.getAttribute("aria-describedby")}`);
  }
  told.setAttribute("role", "status");
  input.addEventListener("input", () => {
    const isWrong = !rule.test(input.value);
    field.classList.toggle("wrong", isWrong);
    input.setAttribute("aria-invalid", String(isWrong));
    told.textContent = isWrong ? input.dataset.words : "";
  });
}

function fitDeployments(form) {
  const cloud = form.elements.cloudProvider;
  const deployment = form.elements.deployment;
  const fit = () => {
    for (const group of deployment.querySelectorAll("optgroup")) {
      group.hidden = group.disabled = group.dataset.key !== cloud.value;
    }
    if (deployment.selectedOptions[0]?.parentElement.disabled) {
      deployment.value = deployment.querySelector("optgroup:not([disabled]) option").value;
    }
  };
  cloud.addEventListener("change", fit);
  fit();
}

function placeMenu(event) {
  const menu = event.target;
  if (event.newState !== "open" || !menu.matches?.(".menu")) return;
  const button = document.querySelector(`[popovertarget="${menu.id}"]`);
  const box = button.getBoundingClientRect();
  menu.style.setProperty("inset", "auto");
  const left = Math.max(8, box.right - menu.offsetWidth);
  const below = box.bottom + 4;
  const top = below + menu.offsetHeight > innerHeight ? box.top - menu.offsetHeight - 4 : below;
  menu.style.setProperty("left", `${left}px`);
  menu.style.setProperty("top", `${top}px`);
}

// Of several explanations, the one for what is chosen.
function followChoice(block, root) {
  const choice = root.querySelector(`[name="${block.dataset.follows}"]`);
  const follow = () => {
    for (const part of block.querySelectorAll(":scope > [data-key]")) {
      part.hidden = part.dataset.key !== choice.value;
      part.open = !part.hidden;
    }
  };
  choice.addEventListener("change", follow);
  follow();
}

// Of several groups of fields, those of what is chosen; what was typed into the others comes back with them.
function swapFields(block) {
  const choice = document.querySelector(`[name="${block.dataset.swaps}"]`);
  const groups = new Map();
  for (const part of block.children) {
    const fields = part.content?.firstElementChild ?? part;
    for (const inner of fields.querySelectorAll("[data-follows]")) followChoice(inner, fields);
    groups.set(part.dataset.key, fields);
  }
  choice.addEventListener("change", () => block.replaceChildren(groups.get(choice.value) ?? ""));
}

for (const block of document.querySelectorAll("[data-swaps]")) swapFields(block);
for (const block of document.querySelectorAll("[data-follows]")) {
  if (!block.closest("[data-swaps]")) followChoice(block, document);
}
for (const part of document.querySelectorAll("[data-unscripted]")) part.hidden = true;
// Times by the visitor's clock: the server writes them, and is told how far it is from UTC.
const offset = String(-new Date().getTimezoneOffset());
if (!document.cookie.split("; ").includes(`offset=${offset}`)) {
  document.cookie = `offset=${offset}; path=/; samesite=lax; max-age=31536000`;
}
for (const button of document.querySelectorAll("[data-script]")) button.hidden = false;
for (const block of document.querySelectorAll("[data-copy]")) copyButton(block);
for (const form of document.querySelectorAll('[data-form="agent"]')) fitDeployments(form);
for (const input of document.querySelectorAll("[data-rule]")) tellRule(input);
document.addEventListener("toggle", placeMenu, true);
document.getElementById("summary")?.focus();

// A page in use does not change under its reader: an open menu or marked text waits.
document.addEventListener("htmx:beforeRequest", (event) => {
  const place = event.detail.elt;
  const marked = getSelection();
  const busy = document.querySelector(".menu:popover-open") || document.hidden
    || (!marked.isCollapsed && place.contains(marked.anchorNode));
  if (busy) event.preventDefault();
});

// What has come stands where the old part stood: scrolled as far, and with the focus where that was on what scrolls. Whatever has
// an id keeps its focus by itself.
const scrollers = (place) => [...place.querySelectorAll(".scroll, pre")];
let places = [];
document.addEventListener("htmx:beforeSwap", (event) => {
  places = scrollers(event.detail.target)
    .map((box) => ({ left: box.scrollLeft, top: box.scrollTop, focused: box === document.activeElement }));
});
document.addEventListener("htmx:afterSwap", (event) => {
  for (const [at, box] of scrollers(event.target).entries()) {
    const { left, top, focused } = places[at] ?? {};
    box.scrollTo({ left, top, behavior: "instant" });
    if (focused) box.focus({ preventScroll: true });
  }
});
