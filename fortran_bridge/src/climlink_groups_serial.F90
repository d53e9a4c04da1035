!> climlink_groups without MPI: no communicator is accepted, so no rank is ever in a group.
submodule(climlink_groups) climlink_groups_serial
  implicit none (type, external)

contains

  module procedure same_on_all
    yes = .true.
  end procedure same_on_all

  module procedure split_node
  end procedure split_node

  module procedure allocate_shared
    memory = shared_memory()
  end procedure allocate_shared

  module procedure free_group
    group = node_group()
  end procedure free_group

  module procedure memory_of_node
    text = ''
  end procedure memory_of_node

end submodule climlink_groups_serial
