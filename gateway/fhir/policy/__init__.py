"""Policy packs: who may do what to a Task, as data with a name. `model` is what they are, `loading` reads them."""
