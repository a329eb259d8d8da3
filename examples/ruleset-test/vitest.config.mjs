// Alone in its folder, so that a project's own configuration does not apply here.
export default {};
