"""Images, flashing and provisioning of boxes."""
