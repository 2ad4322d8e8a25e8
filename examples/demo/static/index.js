// The board of the first page: files that were handed in one by one, as `make demo` does it.
const board = document.getElementById("board");
let shown = board.querySelector("progress").value;

async function look() {
  let pause = 2000;
  try {
    const told = await (await fetch("/progress")).json(), ended = told.succeeded + told.failed;
    if (ended != shown || (board.hidden && told.files)) {
      const page = new DOMParser().parseFromString(await (await fetch(location)).text(), "text/html");
      board.hidden = false;
      board.replaceChildren(...page.getElementById("board").children);
      shown = ended;
    }
    if (ended < told.files) pause = 500;
  } catch {
    board.querySelector(".note").textContent = "The server does not answer; trying again.";
  }
  setTimeout(look, pause);
}
look();
