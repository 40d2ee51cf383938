addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
addEventListener("hashchange", reveal);
reveal();
function reveal() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const part = target && target.closest("details");
  if (part) { part.open = true; target.scrollIntoView(); }
}
